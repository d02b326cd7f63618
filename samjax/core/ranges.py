"""Ranges of config fields, stated beside the type and checked when the config is made."""

import dataclasses
import enum
import functools
import math
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar, dataclass_transform

from samjax.core.errors import UserError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """The numbers that a field may have. NaN and infinity are in no range.

    Written as a field's type: `steps: Annotated[int, Range(at_least=1, why="a run takes steps")]`.
    """

    at_least: int | float | None = None
    above: int | float | None = None
    at_most: int | float | None = None
    below: int | float | None = None
    also: tuple[int | float, ...] = ()
    """Further allowed numbers, outside the interval."""
    one_of: tuple[int | float, ...] = ()
    """The allowed numbers, if they do not form an interval."""
    why: str
    """Why: what the number is, or what another one would do. The end of the error message."""

    def __contains__(self, number: int | float) -> bool:
        if self.one_of:
            return number in self.one_of
        return number in self.also or (
            _is_finite(number)
            and (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        """Return it in words: `at least 1`, `between 0 and 1`, `above 0 and below 16, or -1`."""
        if self.one_of:
            return " or ".join(map(_digits, self.one_of))
        bounds = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        words = [f"{name} {_digits(bound)}" for name, bound in bounds.items() if bound is not None]
        if self.at_least is not None and self.at_most is not None:
            words = [f"between {_digits(self.at_least)} and {_digits(self.at_most)}"]
        return ", or ".join([" and ".join(words) or "finite", *map(_digits, self.also)])


COUNT = Range(at_least=1, why="it is a count, and none at all would do nothing")
COUNT_OR_NONE = Range(at_least=0, why="it is a count")
PIXELS = Range(at_least=1, why="it is a number of pixels")
SEED = Range(at_least=0, at_most=2**32 - 1, why="a seed has 32 bits")

SHADE = Range(at_least=0, at_most=255, why="it is a colour's red, green or blue")

Count = Annotated[int, COUNT]
CountOrNone = Annotated[int, COUNT_OR_NONE]
Pixels = Annotated[int, PIXELS]
Share = Annotated[float, Range(at_least=0, at_most=1, why="it is a share of the whole")]
Probability = Annotated[float, Range(at_least=0, at_most=1, why="it is a probability")]
DropRate = Annotated[float, Range(at_least=0, below=1, why="it is the rate at which a branch is dropped")]
Seed = Annotated[int, SEED]
Shade = Annotated[int, SHADE]


def check_number(name: str, number: int | float, within: Range) -> None:
    """Refuse a number outside its range; `name` is what the user calls it.

    Raises:
      UserError: it is not.
    """
    if number not in within:
        raise UserError(_refusal(name, number, within))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def config_class(section: str) -> Callable[[type[T]], type[T]]:
    """Make a class a config: a frozen keyword-only dataclass whose fields are checked before its `__post_init__`.

    Making one raises a UserError if a field's type differs from its annotation, or a number is outside its `Range`.

    Args:
      section: dotted name of the config within the user's config, such as `optim.schedule`; empty for the outermost.
    """

    def decorate(cls: type[T]) -> type[T]:
        own_check = getattr(cls, "__post_init__", lambda _: None)  # an inherited one too

        def check(self: Any) -> None:
            check_fields(self, section)
            own_check(self)

        cls.__post_init__ = check  # type: ignore[attr-defined]
        cls.section = section  # type: ignore[attr-defined]
        return dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    return decorate


def check_fields(config: Any, section: str) -> None:
    """Refuse a field that has the wrong type or is out of range.

    Raises:
      UserError: one is; the message gives its dotted name, its value, the range and why.
    """
    for name, expected in field_types(type(config)).items():
        dotted = f"{section}.{name}" if section else name
        for fault in _faults(expected, getattr(config, name), dotted):
            raise UserError(fault)


@functools.cache
def field_types(cls: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields, with their ranges."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _faults(expected: Any, value: Any, name: str, within: Range | None = None) -> Iterator[str]:
    """Yield a sentence for each way in which `value` does not fit the type `expected`."""
    origin, inside = typing.get_origin(expected), typing.get_args(expected)
    if origin is Annotated:
        ranges = [part for part in inside[1:] if isinstance(part, Range)]
        yield from _faults(inside[0], value, name, ranges[0] if ranges else within)
    elif origin in (typing.Union, types.UnionType):
        fitting = [kind for kind in inside if _is_kind(kind, value)]
        if not fitting:
            yield f"{name} is {value!r}; it must be {_words(expected)}"
        else:
            yield from _faults(fitting[0], value, name)
    elif origin is tuple:
        kinds = [inside[0]] * len(value) if inside[-1:] == (Ellipsis,) and isinstance(value, tuple) else list(inside)
        if not isinstance(value, tuple) or len(kinds) != len(value):
            yield f"{name} is {value!r}; it must be a tuple of {_words(expected)}"
            return
        for kind, one in zip(kinds, value, strict=True):
            yield from (fault.replace(f"{name} is", f"{name} {value} has", 1) for fault in _faults(kind, one, name))
    elif origin is typing.Literal:
        if value not in inside:
            yield f"{name} is {value!r}; it must be {' or '.join(map(str, inside))}"
    elif not _is_kind(expected, value):
        yield f"{name} is {value!r}; it must be {_words(expected)}{f', {within}' if within is not None else ''}"
    elif expected in (int, float):
        if within is not None and value not in within:
            yield _refusal(name, value, within)
        elif not _is_finite(value):
            yield f"{name} is {value}; it must be finite"


def _refusal(name: str, number: int | float, within: Range) -> str:
    finite = "" if _is_finite(number) else "a finite number, "
    return f"{name} is {number}; it must be {finite}{within}: {within.why}"


def _is_kind(expected: Any, value: Any) -> bool:
    """Return whether `value` is of a plain type; a whole number will do for a float."""
    if typing.get_origin(expected) is Annotated:
        expected = typing.get_args(expected)[0]
    if typing.get_origin(expected) is tuple:
        return isinstance(value, tuple)
    if expected is float:
        return type(value) in (int, float)
    if expected is int:
        return type(value) is int
    return not isinstance(expected, type) or isinstance(value, expected)


def _words(expected: Any) -> str:
    """Return a type in words."""
    if typing.get_origin(expected) is Annotated:
        expected = typing.get_args(expected)[0]
    if inside := [kind for kind in typing.get_args(expected) if kind is not Ellipsis]:
        return (", " if typing.get_origin(expected) is tuple else " or ").join(map(_words, inside))
    if isinstance(expected, type) and issubclass(expected, enum.Enum):
        return f"one of {', '.join(f'{expected.__name__}.{one.name}' for one in expected)}"
    names = {int: "a whole number", float: "a number", str: "text", bool: "True or False", types.NoneType: "None"}
    return names.get(expected) or f"a {getattr(expected, '__name__', expected)}"


def _is_finite(number: int | float) -> bool:
    return isinstance(number, int) or math.isfinite(number)  # an int may be too large for a float


def _digits(number: int | float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
