"""A table of classes: which values of a label map, or categories of a JSON, are which class, and which are ignored.

    {"ignore": [255], "classes": [{"name": "background", "values": [0]}, {"name": "cell", "values": [1, 2]}]}

is such a table, in a file of one's own. Those of known data sets are called by name.
"""

import functools
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.json_config import from_json, to_json
from samjax.core.ranges import SHADE, Range, check_number
from samjax.data.records.segments import UNLABELLED

MOST_CLASSES = 2**15 - 1
"""Class numbers have 16 bits, with a sign."""
_MOST_BYTES = 10_000_000

VALUE = Range(at_least=0, why="it is the value of a pixel, or the id of a category")


@dataclass(frozen=True, kw_only=True)
class SegmentClass:
    """One class."""

    name: str
    values: tuple[int, ...] = ()
    """Of pixels in label maps, or ids of categories in a JSON."""
    colour: tuple[int, int, int] | None = None
    """Red, green and blue of its pixels in pictures; None chooses one by the class's number."""
    thing: bool = False
    """Whether it can be counted, as panoptic segmentation tells things from stuff."""

    def __post_init__(self):
        for value in self.values:
            check_number(f"a value of {self.name}", value, VALUE)
        for shade in self.colour or ():
            check_number(f"a shade of {self.name}'s colour", shade, SHADE)


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """The classes of a data set in the order of their numbers, from 0."""

    title: str = ""
    url: str = ""
    ignore: tuple[int, ...] = ()
    """Values of pixels that count for nothing."""
    background: str = ""
    """Where annotations are objects: the name of the class of pixels that no object covers; empty ignores them."""
    classes: tuple[SegmentClass, ...]

    def __post_init__(self):
        for value in self.ignore:
            check_number("a value to ignore", value, VALUE)
        if not 1 <= len(self.classes) <= MOST_CLASSES:
            raise UserError(f"the table has {len(self.classes):,} classes; give 1 to {MOST_CLASSES:,}")
        owners: dict[int, str] = dict.fromkeys(self.ignore, "ignored")
        for one in self.classes:
            for value in one.values:
                if (other := owners.setdefault(value, one.name)) != one.name:
                    raise UserError(f"value {value} is of {other} and of {one.name}: give it to one of them")
        names = [one.name for one in self.classes]
        if self.background and self.background not in names:
            raise UserError(f"background is {self.background!r}, which is no class: {', '.join(names[:10])}")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"two classes are called {twice}: give each a name of its own")

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(one.name for one in self.classes)

    @functools.cached_property
    def numbers(self) -> Mapping[int, int]:
        """The class of each value; `UNLABELLED` for those ignored."""
        found = dict.fromkeys(self.ignore, UNLABELLED)
        return found | {value: number for number, one in enumerate(self.classes) for value in one.values}

    def to_json(self) -> str:
        """Return it as JSON, a class a line."""
        plain = json.loads(to_json(self))
        rows = ",\n".join(f"    {json.dumps(row)}" for row in plain.pop("classes"))
        return json.dumps(plain, indent=2).removesuffix("\n}") + f',\n  "classes": [\n{rows}\n  ]\n}}\n'


def known_tables() -> tuple[str, ...]:
    """Return the names of the data sets whose tables ship with samjax."""
    return tuple(sorted(one.name.removesuffix(".json") for one in _tables().iterdir() if one.name.endswith(".json")))


def read_class_table(name: str | Path) -> ClassTable:
    """Return the table of a known data set, such as `ade20k`, or that in a JSON file.

    Raises:
      UserError: neither a known name nor a file, or the file is no such table; the message says what is wrong.
    """
    if str(name) in known_tables():
        return parse_class_table((_tables() / f"{name}.json").read_text(), name=str(name))
    path = Path(name).expanduser()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} has more than {_MOST_BYTES:,} bytes, which is no table of classes")
        content = path.read_text()
    except OSError as error:
        known = ", ".join(known_tables())
        raise UserError(f"{name} is neither a known table of classes ({known}) nor a file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a JSON file: {error}") from error
    return parse_class_table(content, name=str(path))


def parse_class_table(content: str, *, name: str) -> ClassTable:
    """Return the table in a JSON text; `name` is what errors call it.

    Raises:
      UserError: it is none.
    """
    try:
        plain: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not JSON: {error}") from error
    return from_json(ClassTable, plain, name=name)


def _tables() -> Any:
    return importlib.resources.files("samjax.data.classes") / "tables"
