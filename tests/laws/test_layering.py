"""Who may import whom. A package imports only what data reaches before it: never sideways, never back."""

import ast
import dataclasses
import enum
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

from samjax.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
OURS = ("samjax", "data_pipelines", "experiments", "launch", "benchmarks", "tests")

TRAIN = ("core", "data", "optim", "parallel", "nn", "checkpoint")
TASKS = (*TRAIN, "prompting", "losses", "models", "training")
API = ("api", "data_pipelines")
MAY_IMPORT = {
    "samjax.core": (),
    "samjax.data": ("core",),
    "samjax.prompting": ("core",),
    "samjax.losses": ("core", "nn"),
    "samjax.scores": ("core", "data"),
    "samjax.optim": ("core",),
    "samjax.parallel": ("core",),
    "samjax.pictures": ("core", "data"),
    "samjax.nn": ("core", "parallel"),
    "samjax.models": ("core", "parallel", "nn"),
    "samjax.checkpoint": ("core", "parallel", "nn"),
    "samjax.interop": ("core", "nn", "models", "checkpoint"),
    "samjax.predict": ("core", "data", "parallel", "nn", "models", "checkpoint", "pictures"),
    "samjax.training": TRAIN,
    "samjax.tasks": (*TASKS, "pictures", "scores"),
    "samjax.plan": ("core", "parallel", "training"),
    "samjax.runs": ("core", "pictures", "training"),
    "samjax.eval": ("core", "data", "prompting", "losses", "scores", "parallel", "models", "pictures", "predict"),
    "samjax.annotate": ("core", "data", "pictures", "predict", "checkpoint", "scores", "data_pipelines"),
    "samjax.api": ("core", "data", "parallel", "checkpoint", "training", "predict", "data_pipelines"),
    "samjax.cli": (
        *TASKS,
        "tasks",
        "interop",
        "pictures",
        "predict",
        "plan",
        "runs",
        "scores",
        "eval",
        "annotate",
        "api",
        "data_pipelines",
    ),
    "data_pipelines": ("core", "data"),
}
LONGEST_FILE = 300
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common"}


class Import(NamedTuple):
    """`name` None is the module itself."""

    line: int
    module: str
    name: str | None

    @property
    def target(self) -> str:
        """The module reached, as dotted parts: of `from samjax import core` samjax.core."""
        return self.module if self.name is None else f"{self.module}.{self.name}"


def imports(source: str, *, package: str = "") -> Iterator[Import]:
    """Yield every import of `source`, a module in `package`, inside functions and type checks too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (Import(node.lineno, module, alias.name) for alias in node.names)


def room(target: str) -> str | None:
    """Return which of our packages a dotted name is in, None if it is not ours."""
    parts = target.split(".")
    if parts[0] not in OURS:
        return None
    return ".".join(parts[:2]) if parts[0] == "samjax" and len(parts) > 1 else parts[0]


def complaints(where: str, importer: str, source: str, *, package: str) -> list[str]:
    """Return a sentence for every import that `importer`, a key of MAY_IMPORT, may not make."""
    allowed = [name if name in OURS else f"samjax.{name}" for name in MAY_IMPORT[importer]]
    return [
        f"{where}:{found.line}: {importer} imports {found.target}; of ours it may import "
        f"{', '.join(allowed) or 'nothing'} and itself"
        for found in imports(source, package=package)
        if room(found.target) not in (None, importer, *allowed)
    ]


def modules(*folders: str) -> list[Path]:
    """Return every Python file under `folders`, at least one in each."""
    found = [sorted((ROOT / folder).rglob("*.py")) for folder in folders]
    assert all(found), f"a folder of {folders} holds no Python file: look at ROOT, {ROOT}"
    return [path for paths in found for path in paths]


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


def importer_of(path: Path) -> str | None:
    """Return the package of the table that `path` belongs to; `samjax/__init__.py` belongs to none."""
    return room(package_of(path)) if path.parent != ROOT / "samjax" else None


def test_every_package_is_in_the_table():
    packages = {path.parent.relative_to(ROOT) for path in (ROOT / "samjax").glob("*/*.py")}
    unknown = {".".join(path.parts) for path in packages} - set(MAY_IMPORT)
    assert not unknown, f"{sorted(unknown)} are not in MAY_IMPORT: say what they may import"


def test_package_itself_holds_only_names_of_the_api():
    """`import samjax` costs nothing, and every module lives in a package of the table."""
    assert [path.name for path in (ROOT / "samjax").glob("*.py")] == ["__init__.py"]
    targets = {found.module for found in imports((ROOT / "samjax" / "__init__.py").read_text())}
    ours = {target for target in targets if room(target)}
    assert {room(target) for target in ours} == {"samjax.api"}
    assert targets - ours == {"importlib", "typing"}


def test_import_of_the_package_loads_nothing():
    """Neither JAX, which takes seconds, nor another module of samjax, until one of its names is used."""
    script = (
        "import sys, samjax; print(sorted(n for n in sys.modules if n.split('.')[0] in ('samjax', 'jax', 'numpy')))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.strip() == "['samjax']"


def test_packages_import_only_what_the_table_allows():
    wrong = [
        complaint
        for path in modules("samjax", "data_pipelines")
        if (importer := importer_of(path)) is not None
        for complaint in complaints(str(path.relative_to(ROOT)), importer, path.read_text(), package=package_of(path))
    ]
    assert not wrong, "\n".join(wrong)


def test_table_has_no_cycle():
    """So that `above` means something: a package never reaches itself through what it may import."""
    reached: dict[str, set[str]] = {}

    def reach(name: str, path: tuple[str, ...]) -> set[str]:
        assert name not in path, f"cycle: {' -> '.join((*path, name))}"
        if name not in reached:
            below = [other if other in OURS else f"samjax.{other}" for other in MAY_IMPORT[name]]
            reached[name] = set(below).union(*(reach(other, (*path, name)) for other in below))
        return reached[name]

    for name in MAY_IMPORT:
        reach(name, ())


@pytest.mark.parametrize("path", modules("experiments"), ids=lambda path: path.name)
def test_experiments_import_configs_alone(path):
    """From samjax, tasks, dataclasses named ...Config and enums; else the standard library and other experiments."""
    for found in imports(path.read_text()):
        where = f"{path.relative_to(ROOT)}:{found.line}: imports {found.target}; an experiment may import"
        top = found.module.split(".")[0]
        if top != "samjax":
            assert top in sys.stdlib_module_names | {"experiments"}, (
                f"{where} samjax, experiments, the standard library"
            )
            continue
        value = getattr(importlib.import_module(found.module), found.name) if found.name else None
        is_task = isinstance(value, type) and issubclass(value, TrainConfig)
        is_config = is_task or (dataclasses.is_dataclass(value) and found.target.endswith("Config"))
        is_enum = isinstance(value, type) and issubclass(value, enum.Enum)
        assert is_config or is_enum, f"{where} config dataclasses and enums of samjax alone"


@pytest.mark.parametrize("path", modules("samjax"), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_named_for_their_purpose(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_FILE, f"{path} has {lines} lines, more than {LONGEST_FILE}: split it by purpose"
    vague = VAGUE & {path.stem, path.parent.name}
    assert not vague, f"{path}: {vague} says nothing of what it holds; name it for its purpose"


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("from samjax.core.batches import Batch", True),
        ("import jax.numpy as jnp", True),
        ("from samjax.losses import dice", True),
        ("from .focal import focal_loss", True),
        ("from samjax.models.sam.sam import SamConfig", False),
        ("from samjax import models", False),
        ("import samjax.training.loop", False),
        ("from ..models import sam", False),
        ("def late():\n    from samjax.data import rle", False),
        ("from data_pipelines import sa1b", False),
        ("from tests import conftest", False),
    ],
)
def test_the_check_sees_every_form_of_import(source, allowed):
    found = complaints("samjax/losses/x.py", "samjax.losses", source, package="samjax.losses")
    assert bool(found) is not allowed
    for complaint in found:
        assert "samjax/losses/x.py:" in complaint
        assert "may import samjax.core, samjax.nn and itself" in complaint


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: its nodes outside functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from at_import(child)


def test_parity_alone_needs_pytorch_and_other_codebases():
    """Tests outside tests/parity import nothing of the extra `parity`, and the package does in functions alone.

    tensorboardX counts, because it imports torch if that is installed.
    """
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    foreign = {Requirement(text).name for text in extras["parity"]} | {"tensorboardX"}
    assert "torch" in foreign
    wrong = []
    for path in modules("samjax", "data_pipelines", "experiments", "tests"):
        if ROOT / "tests" / "parity" in path.parents:
            continue
        tree = ast.parse(path.read_text())
        nodes = ast.walk(tree) if ROOT / "tests" in path.parents else at_import(tree)
        source = "\n".join(ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
        wrong += [
            f"{path.relative_to(ROOT)} imports {found.module}"
            for found in imports(source)
            if found.module.split(".")[0] in foreign
        ]
    assert not wrong, "\n".join(wrong)
