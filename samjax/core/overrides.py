"""Fields of nested configs replaced by their dotted names, as `samjax train` names them."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from samjax.core.errors import UserError

T = TypeVar("T")


def replace_fields(config: T, values: Mapping[str, Any]) -> T:
    """Return `config` with other values of some fields, checked as everywhere.

        replace_fields(small.config(), {"data.source": "my_records", "steps": 500})

    Configs are made anew from the inside out, each once, with all its new values together.

    Raises:
      UserError: a name is no field, with the nearest one, or lies within another name's value; or a value does not fit.
    """
    return _replaced(config, {tuple(name.replace("-", "_").split(".")): value for name, value in values.items()}, ())


def _replaced(config: T, values: Mapping[tuple[str, ...], Any], above: tuple[str, ...]) -> T:
    """Return `config`, the field `above` of a config, with the values of paths within it."""
    within: dict[str, dict[tuple[str, ...], Any]] = {}
    for path, value in values.items():
        within.setdefault(path[0], {})[path[1:]] = value
    known = [field.name for field in dataclasses.fields(config)] if dataclasses.is_dataclass(config) else []
    changes = {}
    for name, inner in within.items():
        dotted = ".".join((*above, name))
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {'.'.join((*above, near[0]))}?" if near else f"fields are {', '.join(known)}"
            raise UserError(f"{dotted} is no field" + (f"; {hint}" if known else f": {'.'.join(above)} has none"))
        if () in inner and len(inner) > 1:
            raise UserError(f"{dotted} is given whole and in part: give one of them")
        changes[name] = inner[()] if () in inner else _replaced(getattr(config, name), inner, (*above, name))
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]
