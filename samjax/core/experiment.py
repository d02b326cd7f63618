"""Config is code: an experiment is a Python file whose `config()` returns a frozen dataclass."""

import dataclasses
import difflib
import importlib.util
import re
import sys
import traceback
import types
from pathlib import Path
from typing import TypeVar

from samjax.core.errors import MachineError, UserError

T = TypeVar("T")


def load_experiment(path: str | Path, expected: type[T]) -> T:
    """Run the experiment file at `path` and return what its `config()` returns.

    The shipped experiments are a package: any file can build on `from experiments.sam import vit_b`, and the path
    `experiments/sam/vit_b.py` works from any folder. A file can also import its neighbours.

    Raises:
      UserError: there is no such file, it defines no `config`, the result is not an `expected`, or it fails (with the
        line).
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
      UserError: neither exists.
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
    raise UserError(f"{path}: no such experiment file; shipped experiments: {', '.join(names) or 'not installed'}")


def _where(error: Exception, path: Path) -> str:
    """Return the file and the last of its lines in the traceback of `error`."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else lines[-1:] and lines[-1]
    return f"{path}, line {line}" if line else str(path)


def _nearest(error: Exception, module: types.ModuleType) -> str:
    """Return the config field nearest to a misspelt keyword, as the end of a sentence."""
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
