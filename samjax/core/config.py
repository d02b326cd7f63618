"""Config is code: an experiment is a Python file whose `config()` returns a frozen dataclass."""

import dataclasses
import enum
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, TypeVar

from samjax.core.errors import UserError

T = TypeVar("T")


def load_experiment(path: str | Path, expected: type[T]) -> T:
    """Run the experiment file at `path` and return what its `config()` returns.

    Raises:
      UserError: no such file, no `config` in it, or a result that is not `expected`.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such experiment file; the ones shipped are under experiments/")
    name = f"samjax_experiment_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; an experiment is a .py file that defines config()")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # experiments may start from a neighbour's config
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.resolve().parent))
    make = getattr(module, "config", None)
    if not callable(make):
        raise UserError(f"{path} defines no config(); an experiment needs `def config() -> {expected.__name__}`")
    config = make()
    if not isinstance(config, expected):
        raise UserError(f"{path}: config() returned a {type(config).__name__}, expected a {expected.__name__}")
    return config


def to_json(config: Any) -> str:
    """Return a config, or any nest of dataclasses, as indented JSON; enums by value."""

    def plain(value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return value.value
        if isinstance(value, Path):
            return str(value)
        raise TypeError(f"a config cannot hold a {type(value).__name__}: {value!r}")

    return json.dumps(dataclasses.asdict(config), indent=2, default=plain)
