"""What subcommands have in common."""

from samjax.core.errors import UserError


def refuse_more(rest: list[str], command: str) -> None:
    """Refuse arguments that `samjax COMMAND` did not take.

    Raises:
      UserError: there are some.
    """
    if rest:
        raise UserError(f"samjax {command} does not know {' '.join(rest)}; see samjax {command} --help")
