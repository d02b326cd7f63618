"""Logits of published code, kept in tests/golden, and our model with the same weights: drawn, by their keys."""

import functools
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from samjax.core.tree import named_leaves, nest
from samjax.interop.mapping import Entry, Naming, Row, Slot, arrays_from_torch, write_out
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.nn.structure import abstract_model

GOLDEN = Path(__file__).parent.parent / "golden"
Weights = dict[str, np.ndarray]


def drawn_array(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array that depends on its key and shape alone, small but for scales and variances, which are near 1."""
    noise = np.random.default_rng(zlib.crc32(key.encode())).normal(size=shape).astype(np.float32)
    if key.endswith("running_var"):
        return np.exp(0.2 * noise)
    return 0.05 * noise + (len(shape) == 1 and key.endswith("weight"))


@functools.cache
def _abstract(config: DenseConfig) -> tuple[nnx.GraphDef[DenseModel], list[dict[str, tuple[int, ...]]]]:
    """Return a model's structure, and the shapes of its parameters and of its buffers by path."""
    graph, *parts = abstract_model(config.make)
    return graph, [{path: leaf.shape for path, leaf in named_leaves(nnx.to_pure_dict(part)).items()} for part in parts]


def shapes_of(config: DenseConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer of a model, by path."""
    params, buffers = _abstract(config)[1]
    return params | buffers


def entries(rows: Sequence[Row], slots: Mapping[str, Sequence[Slot]], layout: str) -> list[Entry]:
    """Return a table written out."""
    return write_out(rows, slots, Naming(name=layout, title=layout, signs=()))


def weights_of(config: DenseConfig, *table) -> Weights:
    """Return drawn arrays for every key of a table: rows, slots and a layout's name."""
    shapes = shapes_of(config)
    return {
        key: drawn_array(key, entry.layout.torch_shape(entry.shape_in(shapes[entry.path])))
        for entry in entries(*table)
        for key in entry.keys
    }


def arrays_of(config: DenseConfig, rows, slots, layout: str, weights: Weights) -> Weights:
    """Return our arrays by path."""
    return arrays_from_torch(entries(rows, slots, layout), weights, shapes_of(config))


def model_of(config: DenseConfig, rows, slots, layout: str, weights: Weights) -> DenseModel:
    """Return our model with a layout's weights."""
    arrays = arrays_of(config, rows, slots, layout, weights)
    graph, parts = _abstract(config)
    return nnx.merge(graph, *(nest({path: jnp.asarray(arrays[path]) for path in part}) for part in parts))


def photos(sides: tuple[int, int]) -> np.ndarray:
    """Return a normalised photo [1 h w 3], so faint that the epsilon of a wrong norm shows."""
    return 0.02 * np.random.default_rng(1).normal(size=(1, *sides, 3)).astype(np.float32)


@jax.jit
def outputs(model: DenseModel, image: np.ndarray) -> tuple[jax.Array, ...]:
    """Return a model's logits and its auxiliary ones, at the photo's size."""
    found = model(image)
    return tuple(model.enlarge(one, (image.shape[1], image.shape[2])) for one in (found.logits, *found.auxiliary))


def sampled(logits) -> np.ndarray:
    """Return the part that is kept: 5 has no divisor in common with any enlargement."""
    return np.asarray(logits)[:, 1::5, 1::5]


def keep(path: Path, goldens: Mapping[str, np.ndarray]) -> None:
    """Write goldens beside those of the file that a run did not make."""
    earlier = dict(np.load(path)) if path.exists() else {}
    np.savez_compressed(path, **{**earlier, **goldens})  # type: ignore[arg-type]
