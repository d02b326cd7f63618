"""What the values of label maps are called: a list of the data set's, a line each, as Pascal Context's `labels.txt`.

    1: accordion
    2: aeroplane

A table of classes finds its own among them by name, whatever numbers they have.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from samjax.core.errors import UserError
from samjax.core.text import printable
from samjax.core.text_list import read_lines
from samjax.data.classes.class_table import ClassTable

_MOST_BYTES = 10_000_000
_LINE = re.compile(r"\s*(\d{1,9})\s*:\s*(.*\S)\s*")
_NOTHING = 0
"""The value of pixels that nobody named."""


def read_value_names(path: str | Path) -> dict[int, str]:
    """Return the name of each value that a list has in lines of `NUMBER: NAME`.

    Raises:
      UserError: it cannot be read, has a line of another form, or two names of one number.
    """
    path = Path(path).expanduser()
    lines = read_lines(path, most_bytes=_MOST_BYTES, what="list of names", wanted="the list of the values' names")
    names: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise UserError(
                f"{path}, line {number}: {printable(line[:40])!r} is not of the form `12: bench`; correct it"
            )
        value, name = int(match[1]), match[2]
        if names.setdefault(value, name) != name:
            raise UserError(f"{path}, line {number}: {value} is {printable(name[:40])} and {names[value]}; correct it")
    if not names:
        raise UserError(f"{path} is empty: give a list with a line such as `12: bench` for each value")
    return names


def with_values_of(classes: ClassTable, names: Mapping[int, str], *, origin: str) -> ClassTable:
    """Return the table with the values of each class's name; all others that have a name, and 0, are ignored.

    Case and spaces in names do not count.

    Args:
      classes: the table.
      names: of the values.
      origin: what errors call them.

    Raises:
      UserError: they lack the name of a class.
    """
    values: dict[str, tuple[int, ...]] = {}
    for value, name in names.items():
        values[_plain(name)] = (*values.get(_plain(name), ()), value)
    missing = [one.name for one in classes.classes if _plain(one.name) not in values]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UserError(
            f"{origin} does not have the classes {', '.join(missing[:5])}{more}: give the list of all the values that "
            "the maps have, or a table with its names"
        )
    own = tuple(replace(one, values=values[_plain(one.name)]) for one in classes.classes)
    taken = {value for one in own for value in one.values}
    return replace(classes, classes=own, ignore=tuple(sorted(({_NOTHING} | names.keys()) - taken)))


def _plain(name: str) -> str:
    return "".join(name.split()).lower()
