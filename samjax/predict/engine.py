"""A trained model on its devices: photos in, embeddings out; prompts in, masks out."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32, Int, UInt8

from samjax.checkpoint.encoder_manifest import describe_encoder, weights_digest
from samjax.checkpoint.load import load_model
from samjax.core.prompts import MaskOutput, PointLabel, Prompts, point_slots
from samjax.core.sizes import map_groups
from samjax.core.xla_cache import enable_compile_cache
from samjax.models.sam.grouping import decoded_at_once
from samjax.models.sam.sam import Sam, SamConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding, platform, replicated
from samjax.predict.promptable.restore import Resize, packed_masks


class Engine:
    """The encoder and the decoder of `model`, compiled for each shape they meet, over the devices of `mesh`.

    Weights are replicated on each device and photos are split over all of them: a batch is a multiple of `ways`.
    Threads may share it. Compiled programs are cached on disk, see `enable_compile_cache`.
    """

    def __init__(self, model: Sam, config: SamConfig, *, mesh: Mesh | None = None):
        enable_compile_cache()
        self.config = config
        self.mesh = make_mesh(MeshConfig()) if mesh is None else mesh
        self.ways = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        graph, params, buffers = nnx.split(model, nnx.Param, ...)
        self._weights = jax.device_put((nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)), replicated(self.mesh))
        self._split = batch_sharding(self.mesh)

        def encode(weights, images, sizes):
            return nnx.merge(graph, *weights).encode(images, sizes)

        def decode(weights, embedding, prompts, multimask, masked):
            decoder = nnx.merge(graph, *weights).decoder(embedding)

            def decode_group(prompts):
                answer = decoder(prompts if masked else _without_masks(prompts), None)
                return answer.candidates() if multimask else answer.single()

            at_once = decoded_at_once(config, platform()) * self.ways // embedding.shape[0]
            return map_groups(decode_group, prompts, at_once=at_once)

        def decode_points(weights, embedding, coords, multimask):
            points = coords[:, :, None]
            coords, labels = point_slots(points, jnp.full(points.shape[:3], int(PointLabel.FOREGROUND), jnp.int32))
            prompts = Prompts.without_masks(coords=coords, labels=labels, logits_size=config.logits_size)
            return decode(weights, embedding, prompts, multimask=multimask, masked=False)

        self._encode = jax.jit(encode)
        self._decode = jax.jit(decode, static_argnums=(3, 4))
        self._decode_points = jax.jit(decode_points, static_argnums=3)
        self._restore = jax.jit(jax.vmap(packed_masks))

    @classmethod
    def from_checkpoint(
        cls,
        path: epath.PathLike,
        *,
        mesh: Mesh | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        average: bool = True,
    ) -> "Engine":
        """Return an engine with the weights at `path`: a run's workdir, one of its checkpoints, or imported weights.

        Where the run kept a moving average of its parameters, `average` False takes those of the last step instead.

        Raises:
          UserError: there is no checkpoint, or it is not that of a complete Segment Anything model.
        """
        loaded = load_model(path, SamConfig, needed_by="prediction", average=average, dtype=dtype)
        return cls(loaded.model, loaded.config, mesh=mesh)

    def encode(self, images: UInt8[np.ndarray, "b h w 3"], sizes: Int[np.ndarray, "b 2"]) -> Float[Array, "b gh gw c"]:
        """Embed photos that lie in the top-left corner, of `sizes` (h, w), of the model's frame."""
        with jax.set_mesh(self.mesh):
            return self._encode(self._weights, *self.split((images, sizes)))

    def decode(
        self, embedding: Float[Array, "b gh gw c"], prompts: Prompts, *, multimask: bool, masked: bool = True
    ) -> MaskOutput:
        """Predict from embeddings of photos split over the mesh: three candidates per prompt, or one mask.

        `masked` False means that there are no mask prompts, and saves their embedding.
        """
        with jax.set_mesh(self.mesh):
            return self._decode(self._weights, embedding, self.split(prompts), multimask, masked)

    def decode_points(
        self, embedding: Float[Array, "b gh gw c"], coords: Float32[Array, "b m 2"], *, multimask: bool = True
    ) -> MaskOutput:
        """Predict, as `decode`, for each of m points on an object, alone, in pixels of the frame."""
        with jax.set_mesh(self.mesh):
            return self._decode_points(self._weights, embedding, coords, multimask)

    def restore(self, logits: Float32[Array, "b n low_h low_w"], plans: Resize) -> UInt8[Array, "b n h packed_w"]:
        """Return masks at the sizes of their photos, eight pixels a byte, see `samjax.predict.promptable.restore`."""
        with jax.set_mesh(self.mesh):
            return self._restore(logits, plans)

    def describe_encoder(self) -> dict[str, Any]:
        """Return all that changes an embedding, weights too: the manifest of a cache of embeddings."""
        params, buffers = self._weights
        encoder, constants = jax.device_get((params["image_encoder"], buffers.get("image_encoder", {})))
        return describe_encoder(self.config, {"image_encoder": encoder}, {"image_encoder": constants})

    def digest(self) -> str:
        """Return 64 hexadecimal digits that stand for all weights."""
        return weights_digest(*jax.device_get(self._weights))

    def split(self, tree):
        """Return arrays with a leading axis of photos on the devices."""
        return jax.device_put(tree, self._split)


def _without_masks(prompts: Prompts) -> Prompts:
    """Return prompts without masks, in a way that the compiler can see."""
    return dataclasses.replace(
        prompts,
        mask_logits=jnp.zeros(prompts.mask_logits.shape, jnp.float32),
        has_mask=jnp.zeros(prompts.has_mask.shape, bool),
    )
