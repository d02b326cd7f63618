"""A format of `samjax export`: its models, its packages, its writer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samjax.interop.card import About, Use


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A format of models of one config class, or of some of them."""

    config: type
    """The class of their configs."""
    format: str
    """As the user names it; classes may share names."""
    needs: tuple[tuple[str, str], ...]
    """Optional packages that write it, each with the extra of ours that brings it."""
    about: Callable[[Any], About]
    """What the card says of a model of this config."""
    write: Callable[[Any, Any, Any, Path, Any], Use]
    """Write (parameters, buffers, config) to a folder, with `options`, and return how it is loaded, or raise a
    UserError."""
    options: type | None = None
    """The class of the format's options, if it has any; every field has a default, and `FLAGS` says what sets them."""
    takes_parts: bool = False
    """Whether it also writes a part of a model, as an encoder alone."""
    holds: Callable[[Any], bool] = lambda config: True
    """Whether it writes a model of this config; of one class and format no two writers may hold the same."""
    models: str = ""
    """Which models it holds, in words, where not all of the class: "a SegFormer"."""
