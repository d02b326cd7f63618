"""Option parsing that all subcommands share."""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from samjax.core.errors import UserError
from samjax.core.ranges import COUNT, Range, check_number

_Number = TypeVar("_Number", int, float)


class Parser(argparse.ArgumentParser):
    """A parser, also for its subcommands, that refuses an option given twice instead of silently taking the last.

    Options that may repeat declare it with `action="append"` or a similar action.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        for action in (None, "store"):
            self.register("action", action, _StoreOnce)
        # Of values that begin with a minus, such as a box at -0.3,4,20,30, newer versions of Python take these too.
        self._negative_number_matcher = re.compile(r"-\.?\d")


class _StoreOnce(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given = getattr(namespace, _GIVEN, ())
        if option is not None and self.dest in given:
            first, second = _text(getattr(namespace, self.dest)), _text(values)
            raise UserError(f"{option} is given twice, as {first} and as {second}: give it once")
        setattr(namespace, _GIVEN, (*given, self.dest))
        setattr(namespace, self.dest, values)


_GIVEN = "_given"


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def refuse_more(rest: list[str], command: str) -> None:
    """Refuse arguments that `samjax COMMAND` did not take.

    Raises:
      UserError: there are some.
    """
    if rest:
        raise UserError(f"samjax {command} does not know {' '.join(rest)}; see samjax {command} --help")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`, as many as there are cores by default."""
    parser.add_argument(
        "--workers",
        type=whole_number("--workers"),
        metavar="N",
        default=len(os.sched_getaffinity(0)),
        help="processes (default: all cores)",
    )


def refuse_any(known: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Refuse those of the options called `names` that were given; `why` ends the sentence `--OPTION is for ...`.

    Raises:
      UserError: one was.
    """
    for name in names:
        if getattr(known, name):
            raise UserError(f"--{name.replace('_', '-')} is for {why}")


def whole_number(option: str, within: Range = COUNT) -> Callable[[str], int]:
    """Return argparse's `type` for `option`, a whole number in a range, COUNT by default.

    It raises a UserError for anything else; argparse itself would also print the usage.
    """
    return _parser(option, within, kind=int, words="a whole number")


def real_number(option: str, within: Range) -> Callable[[str], float]:
    """Return argparse's `type` for `option`, any number in a range; see `whole_number`."""
    return _parser(option, within, kind=float, words="a number")


def _parser(option: str, within: Range, *, kind: Callable[[str], _Number], words: str) -> Callable[[str], _Number]:
    def parse(text: str) -> _Number:
        try:
            number = kind(text)
        except ValueError:
            raise UserError(f"{option} is {text!r}; it must be {words}, {within}") from None
        check_number(option, number, within)
        return number

    return parse


def refuse_repeats(overrides: Sequence[str]) -> None:
    """Refuse a config field that is overridden twice, as in `--steps 3 --steps 4` or `--flag --no-flag`.

    Raises:
      UserError: there is one.
    """
    given: dict[str, str] = {}
    for option in (word.split("=", 1)[0] for word in overrides if re.match(r"--[a-zA-Z]", word)):
        field = re.sub(r"(^|\.)no-([^.]*)$", r"\1\2", option[2:].replace("_", "-"))
        if field in given:
            also = f", as {given[field]} too" if given[field] != option else ""
            raise UserError(f"{option} is given twice{also}: give it once")
        given[field] = option
