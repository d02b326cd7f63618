"""A family of models for import and export: its key layouts elsewhere, and how to derive a config from a state dict."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves, nest
from samjax.interop.array_shapes import key_of
from samjax.interop.mapping import Entry, Naming, Row, Slot, arrays_from_torch, arrays_to_torch, write_out
from samjax.nn.structure import abstract_model, array_shapes

Tree = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A state dict of a known family, from which the family derives a config."""

    name: str
    """The file's or folder's, in errors."""
    naming: Naming
    arrays: Mapping[str, np.ndarray]
    """By key, without what stands before all of them."""
    config_json: Mapping[str, Any] | None = None
    """Of a folder that transformers saved."""
    image_size: tuple[int, int] | None = None
    """(height, width) in pixels that the user asked for."""
    folder: Path | None = None
    """Where the file lies, or the folder itself: what describes the model may lie beside it."""
    decoder_heads: int | None = None
    """Number that the user gave."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A config, its arrays, and notes for the user."""

    config: Any
    params: Tree
    buffers: Tree
    changes: tuple[str, ...] = ()
    """What was resized, and how."""
    unused_keys: tuple[str, ...] = ()
    """Keys that the model does not use."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """The family and key layout of a state dict, and the prefix of its keys: "" or as in "module."."""

    family: "Family"
    naming: Naming
    prefix: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """Models of one architecture: the tables of their weights, and how to recognise and read them."""

    name: str
    """In words: "Segment Anything"."""
    config: type
    """The class of their configs, each of which makes its model: `config.make(rngs=...)`. Families may share it."""
    namings: tuple[Naming, ...]
    """Published layouts of keys, in the order in which they are looked for; the first is the default."""
    rows: Callable[[Any], Sequence[Row]]
    """The table of a model's weights, by its config."""
    stacks: Callable[[Any], Mapping[str, Sequence[Slot]]]
    """The layers of every stack of a model, by the stack's placeholder in `rows`."""
    read: Callable[[Source], Reading]
    """The config and arrays that follow from a state dict; raises a UserError where there is no such model."""
    size: Callable[[Any], str]
    """The size of a model, in words: "ViT-B"."""
    sample: Any = None
    """A config whose table has the signs of every naming; None where all configs have one table."""
    holds: Callable[[Any], bool] = lambda config: True
    """Whether a config of the class `config` is of this family, where families share that class."""
    beyond: Callable[[Any, Naming], str] = lambda config, naming: ""
    """What a model of this config does that a layout cannot say, in words; empty where there is nothing."""
    is_this: Callable[[Mapping[str, np.ndarray]], bool] = lambda arrays: True
    """Whether arrays whose keys are those of one of `namings` are this family's, where keys alone do not say."""

    def recognise(self, arrays: Mapping[str, np.ndarray], *, parts: bool) -> list[Recognition]:
        """Return the naming whose keys `arrays` has, once for each model in them; nothing for another family's.

        `parts` looks among namings of a part of a model, else among those of a whole one.
        """
        for naming in self.namings:
            if bool(naming.part) is not parts:
                continue
            first, *others = _signs(self, naming)
            starts = [key.removesuffix(first) for key in arrays if key == first or key.endswith(f".{first}")]
            found = [start for start in starts if all(f"{start}{key}" in arrays for key in others)]
            found = [start for start in found if self.is_this(without_prefix(arrays, start))]
            if found:
                return [Recognition(family=self, naming=naming, prefix=start) for start in found]
        return []

    def entries(self, config: Any, naming: Naming | None = None) -> list[Entry]:
        """Return the table with its stacks written out: every array of a model of `config` that `naming` has, once."""
        return write_out(self.rows(config), self.stacks(config), naming or self.namings[0])

    def shapes(self, config: Any) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter and buffer of a model of `config`, by path."""
        return array_shapes(config.make)

    def from_torch(
        self, state_dict: Mapping[str, np.ndarray], config: Any, naming: Naming | None = None
    ) -> tuple[Tree, Tree]:
        """Return a model's (parameters, buffers) as nested dictionaries of float32 arrays, those that `naming` has.

        Raises:
          UserError: names every key that does not fit, as `arrays_from_torch` says.
        """
        arrays = arrays_from_torch(self.entries(config, naming), state_dict, self.shapes(config))
        params, buffers = (nest({path: arrays[path] for path in part if path in arrays}) for part in _parts(config))
        return params, buffers

    def to_torch(self, params: Tree, buffers: Tree, config: Any, naming: Naming | None = None) -> dict[str, np.ndarray]:
        """Return the state dict with these weights, every key that `naming` has of them.

        Raises:
          UserError: `naming` needs arrays that a model of `config` has not, or cannot say what it does; or names every
            path that is missing, unexpected or of another shape.
        """
        naming = naming or self.namings[0]
        entries, shapes = self.entries(config, naming), self.shapes(config)
        lacking = sorted({entry.path for entry in entries} - set(shapes))
        reason = f"has no {', '.join(lacking)}" if lacking else self.beyond(config, naming)
        if reason:
            raise UserError(
                f"{naming.title} cannot hold this model, which {reason}: give another --format, such as stablehlo or "
                "onnx"
            )
        arrays = {path: np.asarray(leaf) for tree in (params, buffers) for path, leaf in named_leaves(tree).items()}
        return arrays_to_torch(entries, arrays, shapes)


@functools.cache
def _signs(family: Family, naming: Naming) -> tuple[str, ...]:
    rows = family.rows(family.sample)
    return tuple(key_of(rows, naming, path) for path in naming.signs)


def without_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose keys begin with `prefix`, without it."""
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


@functools.cache
def _parts(config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a model's parameters and buffers as shapes, by path: it takes a second to trace."""
    _, params, buffers = abstract_model(config.make)
    return named_leaves(nnx.to_pure_dict(params)), named_leaves(nnx.to_pure_dict(buffers))
