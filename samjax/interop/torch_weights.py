"""Segment Anything's weights from and to a PyTorch state dict, as NumPy arrays: bit for bit, and all of them."""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves, nested
from samjax.interop.layout import Layout
from samjax.interop.table import SAM, Naming, Slot, slots
from samjax.models.sam.config import SamConfig
from samjax.models.sam.sam import abstract_model, array_shapes

Tree = dict[str, Any]

_PLACEHOLDER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One array of a PyTorch state dict, and its place here: an index into the array at `path`."""

    keys: tuple[str, ...]
    path: str
    index: tuple[int, ...]
    layout: Layout


def entries(config: SamConfig, naming: Naming = Naming.TRANSFORMERS) -> list[Entry]:
    """Return the table with its stacks written out: every array of a model of `config` that `naming` has, once."""
    stacks = slots(config)
    found = []
    for row in SAM:
        names = row.keys(naming)
        if not names:
            continue
        placeholder = _PLACEHOLDER.search(names[0])
        for slot in stacks[placeholder[1]] if placeholder else [Slot(number=0)]:
            keys = tuple(_PLACEHOLDER.sub(str(slot.number), key) for key in names)
            path = _PLACEHOLDER.sub(slot.folder, row.path)
            found.append(Entry(keys=keys, path=path, index=slot.index, layout=row.layout))
    return found


def from_torch(
    state_dict: Mapping[str, np.ndarray], config: SamConfig, naming: Naming = Naming.TRANSFORMERS
) -> tuple[Tree, Tree]:
    """Return a model's (parameters, buffers) as pure nested dictionaries of float32 arrays.

    Where PyTorch has an array under several keys, one of them suffices. Of a plain ViT's state dict those of
    `image_encoder` without its neck are returned, and no buffers.

    Raises:
      UserError: names every key that is missing, unexpected, of another shape, not float32 without loss, or at odds
        with another key of the same array.
    """
    table = entries(config, naming)
    shapes = {path: shape for path, shape in array_shapes(config).items() if path in {entry.path for entry in table}}
    known = {key for entry in table for key in entry.keys}
    faults = [f"{key} is unexpected" for key in state_dict if key not in known]
    arrays = {path: np.empty(shape, np.float32) for path, shape in shapes.items()}
    for entry in table:
        shape = shapes[entry.path][len(entry.index) :]
        given = {key: np.asarray(state_dict[key]) for key in entry.keys if key in state_dict}
        wrong = list(_misfits(given, entry.layout.torch_shape(shape)))
        faults += [f"{' = '.join(entry.keys)} is missing"] if not given else wrong
        if given and not wrong:
            arrays[entry.path][entry.index] = entry.layout.from_torch(next(iter(given.values())), shape)
    _refuse(faults, "the state dict does not hold the weights of the given model config")
    params, buffers = (
        nested({path: arrays[path] for path in named_leaves(tree) if path in arrays}) for tree in _abstract(config)
    )
    return params, buffers


def to_torch(
    params: Tree, buffers: Tree, config: SamConfig, naming: Naming = Naming.TRANSFORMERS
) -> dict[str, np.ndarray]:
    """Return the state dict with these weights of Hugging Face's `SamModel`, or of the release, every key of each.

    Raises:
      UserError: names every path that is missing, unexpected or of another shape.
    """
    shapes = array_shapes(config)
    arrays = {path: np.asarray(leaf) for tree in (params, buffers) for path, leaf in named_leaves(tree).items()}
    faults = [f"{path} is unexpected" for path in arrays if path not in shapes]
    faults += [f"{path} is missing" for path in shapes if path not in arrays]
    faults += [
        f"{path} has shape {array.shape}, expected {shapes[path]}"
        for path, array in arrays.items()
        if path in shapes and array.shape != shapes[path]
    ]
    _refuse(faults, "the parameters are not those of the given model config")
    return {
        key: entry.layout.to_torch(arrays[entry.path][entry.index])
        for entry in entries(config, naming)
        for key in entry.keys
    }


def _misfits(given: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Iterable[str]:
    for key, array in given.items():
        if array.shape != shape:
            yield f"{key} has shape {array.shape}, expected {shape}"
        elif not np.can_cast(array.dtype, np.float32):
            yield f"{key} is {array.dtype}, expected float32"
    first, *others = given or [""]
    for key in others:
        if not np.array_equal(given[key], given[first]):
            yield f"{key} differs from {first}; they are the same array"


def _refuse(faults: list[str], what: str) -> None:
    if faults:
        raise UserError(f"{what} ({len(faults)} faults): {'; '.join(faults)}")


@functools.cache
def _abstract(config: SamConfig) -> tuple[Tree, Tree]:
    _, params, buffers = abstract_model(config)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)
