"""Config is code: an experiment is a Python file whose `config()` returns a frozen dataclass."""

import contextlib
import dataclasses
import difflib
import enum
import importlib.util
import inspect
import json
import re
import sys
import traceback
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from samjax.core.errors import MachineError, UserError

T = TypeVar("T")


def load_experiment(path: str | Path, expected: type[T]) -> T:
    """Run the experiment file at `path` and return what its `config()` returns.

    The shipped experiments are a package: a file anywhere may build on `from experiments.sam import vit_b`, and
    `experiments/sam/vit_b.py` is found wherever the command is given. A file may also import its neighbours.

    Raises:
      UserError: no such file, no `config` in it, a result that is not `expected`, or an error in it, with its line.
    """
    path = _find_experiment(Path(path))
    name = f"samjax_experiment_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; an experiment is a .py file that defines config()")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # experiments may start from a neighbour's config
    try:
        spec.loader.exec_module(module)
        make = getattr(module, "config", None)
        if not callable(make):
            raise UserError(f"{path} defines no config(); an experiment needs `def config() -> {expected.__name__}`")
        config = make()
    except (UserError, MachineError):
        raise
    except Exception as error:
        raise UserError(f"{_where(error, path)}: {type(error).__name__}: {error}{_nearest(error, module)}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    if not isinstance(config, expected):
        raise UserError(f"{path}: config() returned a {type(config).__name__}, expected a {expected.__name__}")
    return config


def _find_experiment(path: Path) -> Path:
    """Return the file at `path`, or the installed experiment of that name.

    Raises:
      UserError: there is neither.
    """
    if path.is_file():
        return path
    package = importlib.util.find_spec("experiments")
    shipped = Path(package.origin).parent if package is not None and package.origin else None
    if shipped is not None and path.parts[:1] == ("experiments",) and ".." not in path.parts:
        found = shipped.joinpath(*path.parts[1:])
        if found.is_file():
            return found
    names = sorted(str(file.relative_to(shipped.parent)) for file in shipped.glob("*/[!_]*.py")) if shipped else []
    raise UserError(f"{path}: no such experiment file; those shipped are {', '.join(names) or 'not installed'}")


def _where(error: Exception, path: Path) -> str:
    """Return the file, and its last line that led to `error`."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else lines[-1:] and lines[-1]
    return f"{path}, line {line}" if line else str(path)


def _nearest(error: Exception, module: types.ModuleType) -> str:
    """Return the field that a misspelt keyword of a config comes nearest to, as the end of a sentence."""
    found = re.search(r"(\w+)?(?:\.__init__\(\) )?got an unexpected keyword argument '(\w+)'", str(error))
    if found is None:
        return ""
    owner, keyword = found.groups()
    configs = [value for value in vars(module).values() if isinstance(value, type) and dataclasses.is_dataclass(value)]
    fields = [
        field.name
        for one in configs
        if owner in (None, one.__name__)
        for field in dataclasses.fields(one)
        if field.init
    ]
    near = difflib.get_close_matches(keyword, fields, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def to_json(config: Any) -> str:
    """Return a config, or any nest of dataclasses, as indented JSON; enums by value."""

    def plain(value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return value.value
        if isinstance(value, Path):
            return str(value)
        raise TypeError(f"a config cannot hold a {type(value).__name__}: {value!r}")

    return json.dumps(dataclasses.asdict(config), indent=2, default=plain)


def from_json(expected: type[T], plain: Any, *, name: str = "config") -> T:
    """Return the dataclass `expected` from what `to_json` made of it, parsed: numbers, strings, lists, dictionaries.

    Args:
      name: what `plain` is called in errors.

    Raises:
      UserError: a field that `expected` does not know, lacks, or knows as another type, or a value out of its range.
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
        if inspect.isabstract(expected):
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


def _kind_with(abstract: type, keys: set[str], name: str) -> type:
    """Return the kind of `abstract` that has the fields `keys`.

    Raises:
      UserError: there is none.
    """
    kinds = [kind for kind in abstract.__subclasses__() if {field.name for field in dataclasses.fields(kind)} == keys]
    if not kinds:
        names = ", ".join(kind.__name__ for kind in abstract.__subclasses__())
        raise UserError(f"{name} has the fields {', '.join(sorted(keys))}, which are of none of {names}")
    return kinds[0]


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
