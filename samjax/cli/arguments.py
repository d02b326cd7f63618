"""What subcommands have in common."""

from collections.abc import Callable

from samjax.core.errors import UserError
from samjax.core.ranges import COUNT, Range, check_number


def refuse_more(rest: list[str], command: str) -> None:
    """Refuse arguments that `samjax COMMAND` did not take.

    Raises:
      UserError: there are some.
    """
    if rest:
        raise UserError(f"samjax {command} does not know {' '.join(rest)}; see samjax {command} --help")


def whole_number(option: str, within: Range = COUNT) -> Callable[[str], int]:
    """Return what argparse takes as the `type` of `option`, a whole number in a range, COUNT by default.

    It raises a UserError for anything else, where argparse would print the usage too.
    """

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise UserError(f"{option} is {text!r}; it must be a whole number, {within}") from None
        check_number(option, number, within)
        return number

    return parse
