"""A dense prediction model on its devices: frames in, logits out."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float32, Int, Int16, UInt8

from samjax.checkpoint.load import load_model
from samjax.core.xla_cache import enable_compile_cache
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding, replicated


class DenseEngine:
    """A model compiled for each shape that it meets, over the devices of `mesh`.

    Weights are replicated on each device and frames are split over all of them: a batch is a multiple of `ways`.
    """

    def __init__(self, model: DenseModel, config: DenseConfig, *, mesh: Mesh | None = None):
        enable_compile_cache()
        self.config = config
        self.mesh = make_mesh(MeshConfig()) if mesh is None else mesh
        self.ways = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        self._weights = jax.device_put((nnx.to_pure_dict(params), nnx.to_pure_dict(rest)), replicated(self.mesh))
        self._split = batch_sharding(self.mesh)

        def logits(weights: Any, images: Array, sizes: Array) -> Float32[Array, "b h w classes"]:
            return nnx.merge(graph, *weights)(images, sizes).logits.astype(jnp.float32)

        def enlarged(weights: Any, images: Array, sizes: Array) -> Float32[Array, "b h w classes"]:
            return nnx.merge(graph, *weights).logits(images, sizes)

        self._logits, self._enlarged = jax.jit(logits), jax.jit(enlarged)
        self._classify = jax.jit(_classify_rows)

    @classmethod
    def from_checkpoint(
        cls,
        path: epath.PathLike,
        *,
        mesh: Mesh | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        average: bool = True,
    ) -> "DenseEngine":
        """Return an engine with the weights at `path`: a run's workdir, one of its checkpoints, or imported weights.

        Raises:
          UserError: there is no checkpoint, or it is not that of a dense prediction model.
        """
        loaded = load_model(path, DenseConfig, needed_by="segmentation", average=average, dtype=dtype)
        return cls(loaded.model, loaded.config, mesh=mesh)

    def logits(
        self, images: UInt8[np.ndarray, "b h w 3"], sizes: Int[np.ndarray, "b 2"], *, enlarge: bool
    ) -> Float32[np.ndarray, "b _ _ classes"]:
        """Return the logits of photos in the top-left corner, of `sizes` (h, w), of a frame of any size.

        They are at the head's resolution, or for each pixel with `enlarge`. The batch is filled up to a multiple of
        `ways`, and cut again.
        """
        count = len(images)
        short = -count % self.ways
        images = np.concatenate([images, np.zeros((short, *images.shape[1:]), np.uint8)])
        sizes = np.concatenate([sizes, np.ones((short, 2), sizes.dtype)])
        with jax.set_mesh(self.mesh):
            run = self._enlarged if enlarge else self._logits
            return np.asarray(run(self._weights, *jax.device_put((images, sizes), self._split)))[:count]

    def classify_rows(
        self, logits: list[Array], rows: list[Array], columns: list[Array]
    ) -> Int16[np.ndarray, "rows columns"]:
        """Return the likeliest class of some rows of a photo; see `_classify_rows`."""
        return np.asarray(self._classify(logits, rows, columns))


def _classify_rows(
    logits: list[Float32[Array, "_ _ classes"]],
    rows: list[Float32[Array, "rows _"]],
    columns: list[Float32[Array, "columns _"]],
) -> Int16[Array, "rows columns"]:
    """Return the class of the highest probability, averaged over several views of one photo.

    Each view's logits are first brought to the photo's pixels by its matrices, then made probabilities.
    """
    total = sum(
        jax.nn.softmax(jnp.einsum("rh,hwk,cw->rck", across_rows, one, across_columns, optimize="optimal"), axis=-1)
        for one, across_rows, across_columns in zip(logits, rows, columns, strict=True)
    )
    return jnp.argmax(total, axis=-1).astype(jnp.int16)
