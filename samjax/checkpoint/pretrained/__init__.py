"""Weights that come with samjax, by name: each a folder that `samjax export --format samjax` wrote, with its card."""

from pathlib import Path

_HERE = Path(__file__).parent


def names() -> list[str]:
    """Return the names that stand for a checkpoint, sorted."""
    return sorted(path.parent.name for path in _HERE.glob("*/state"))


def folder(name: str) -> Path:
    """Return the folder of the weights called `name`."""
    return _HERE / name
