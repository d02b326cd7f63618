"""Configs as JSON: `to_json` writes any nest of dataclasses, `from_json` reads it back and checks it."""

import contextlib
import dataclasses
import enum
import inspect
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from samjax.core.errors import UserError

T = TypeVar("T")

KIND = "kind"
"""The key that names a class, see `to_json`."""


def to_json(config: Any) -> str:
    """Return a config, or any nest of dataclasses, as indented JSON; enums by value.

    Where a class sets `NAMED_KINDS = True`, the JSON of its subclasses begins with `kind`, the subclass's name: kinds
    whose fields are alike cannot be told apart otherwise.
    """
    return json.dumps(_plain(config), indent=2)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {KIND: type(value).__name__, **fields} if getattr(value, "NAMED_KINDS", False) else fields
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a config cannot hold a {type(value).__name__}: {value!r}")


def from_json(expected: type[T], plain: Any, *, name: str = "config") -> T:
    """Return the dataclass `expected` from the parsed JSON of `to_json`.

    Args:
      name: what `plain` is called in errors.

    Raises:
      UserError: a field is unknown, missing or of another type, or a value is out of range.
    """
    try:
        return _built(expected, plain, name)
    except UserError as error:
        said = str(error)
        raise UserError(said if said.startswith(name) else f"{name}: {said}") from None


def _built(expected: Any, plain: Any, name: str) -> Any:
    origin, inside = typing.get_origin(expected), typing.get_args(expected)
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        if not isinstance(plain, dict):
            raise UserError(f"{name} is {plain!r:.60}, expected the fields of {expected.__name__}")
        if getattr(expected, "NAMED_KINDS", False):
            expected, plain = _kind_named(expected, plain, name)
        elif inspect.isabstract(expected):
            expected = _kind_with(expected, set(plain), name)
        known = typing.get_type_hints(expected)
        fields = {field.name: field for field in dataclasses.fields(expected)}
        needed = {key for key, field in fields.items() if _has_no_default(field)}
        if wrong := [*sorted(set(plain) - set(fields)), *sorted(needed - set(plain))]:
            what = "not a field" if wrong[0] in plain else "missing"
            raise UserError(f"{name}.{wrong[0]} is {what} of this version's {expected.__name__}")
        return expected(**{key: _built(known[key], value, f"{name}.{key}") for key, value in plain.items()})
    if origin in (typing.Union, types.UnionType):
        if plain is None and type(None) in inside:
            return None
        (kind,) = (kind for kind in inside if kind is not type(None))
        return _built(kind, plain, name)
    if origin is tuple and isinstance(plain, list):
        kinds = [inside[0]] * len(plain) if inside[-1:] == (Ellipsis,) else list(inside)
        if len(kinds) == len(plain):
            return tuple(
                _built(kind, value, f"{name}[{i}]") for i, (kind, value) in enumerate(zip(kinds, plain, strict=True))
            )
    if origin is typing.Literal and plain in inside:
        return plain
    if isinstance(expected, type) and issubclass(expected, enum.Enum):
        with contextlib.suppress(ValueError):
            return expected(plain)
    if expected is float and type(plain) is int:
        return float(plain)
    if isinstance(expected, type) and type(plain) is expected:
        return plain
    raise UserError(f"{name} is {plain!r:.60}, expected {getattr(expected, '__name__', expected)}")


def _kind_named(abstract: type, plain: dict[str, Any], name: str) -> tuple[type, dict[str, Any]]:
    """Return the subclass of `abstract` that `plain` names, or itself, and the fields of `plain`.

    Raises:
      UserError: there is none of this name.
    """
    kinds = {kind.__name__: kind for kind in (abstract, *abstract.__subclasses__()) if not inspect.isabstract(kind)}
    kind = kinds.get(plain.get(KIND, ""))
    if kind is None:
        raise UserError(f"{name}.{KIND} is {plain.get(KIND)!r:.60}, expected one of {', '.join(kinds)}")
    return kind, {key: value for key, value in plain.items() if key != KIND}


def _kind_with(abstract: type, keys: set[str], name: str) -> type:
    """Return the subclass of `abstract` that has the fields `keys`.

    Raises:
      UserError: there is none.
    """
    kinds = [kind for kind in abstract.__subclasses__() if {field.name for field in dataclasses.fields(kind)} == keys]
    if not kinds:
        names = ", ".join(kind.__name__ for kind in abstract.__subclasses__())
        raise UserError(f"{name} has the fields {', '.join(sorted(keys))}, which fit none of {names}")
    return kinds[0]


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
