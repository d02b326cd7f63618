"""Modules whose weights are drawn by their keys in PyTorch, so that another codebase draws the same."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from flax import nnx

from samjax.core.tree import named_leaves, nest
from samjax.interop.mapping import Naming, Row, Slot, arrays_from_torch, write_out
from samjax.nn.structure import abstract_model, model_with

M = TypeVar("M", bound=nnx.Module)


def drawn(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array that depends on its key and shape alone.

    Biases have a mean of a half: few maps are rectified to nearly nothing, whose layer norm would amplify rounding.
    """
    noise = np.random.default_rng(zlib.crc32(key.encode())).normal(size=shape)
    if key.endswith("running_var"):
        noise = 0.5 + np.abs(noise)
    elif len(shape) == 1:
        noise = 0.3 * noise + {"weight": 1, "bias": 0.5}.get(key.rpartition(".")[2], 0)
    elif len(shape) > 1 and key.endswith("weight"):
        noise = noise / np.sqrt(np.prod(shape[1:]))
    return noise.astype(np.float32)


def drawn_by_key(
    make: Callable[..., M],
    rows: Iterable[Row],
    stacks: Mapping[str, Sequence[Slot]],
    name: str,
    draw: Callable[[str, tuple[int, ...]], np.ndarray] = drawn,
) -> tuple[M, dict[str, np.ndarray]]:
    """Return the module, and its weights by their keys in the layout `name`: what `draw` gives for key and shape."""
    _, *parts = abstract_model(make)
    leaves = [{path: leaf.shape for path, leaf in named_leaves(nnx.to_pure_dict(part)).items()} for part in parts]
    shapes = leaves[0] | leaves[1]
    table = write_out(rows, stacks, Naming(name=name, title=name, signs=()))
    weights = {
        key: draw(key, entry.layout.torch_shape(entry.shape_in(shapes[entry.path])))
        for entry in table
        for key in entry.keys
    }
    arrays = arrays_from_torch(table, weights, shapes)
    params, buffers = (nest({path: arrays[path] for path in part}) for part in leaves)
    return model_with(make, params=params, buffers=buffers), weights
