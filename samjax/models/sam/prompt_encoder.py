"""Points, boxes and masks as embeddings (Segment Anything, section 3)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from samjax.core.prompts import PointLabel, Prompts
from samjax.core.struct import struct
from samjax.models.sam.image_side import DensePrompt
from samjax.models.sam.pixel_order import cells_of_rows
from samjax.nn.init import DECODER_INIT, Buffer, parameter
from samjax.nn.mlp import gelu
from samjax.nn.norm import layer_norm
from samjax.nn.patch import Patchify


@struct
class PromptEmbedding:
    """Prompts as the decoder takes them: tokens with their validity, and a map added to the image embedding."""

    sparse: Float[Array, "b m p c"]
    sparse_valid: Bool[Array, "b m p"]
    dense: DensePrompt


class PositionEncoding(nnx.Module):
    """Random Fourier features of a place in the frame (Tancik et al. 2020).

    The matrix is drawn from N(0, scale^2) once, saved with the model and never trained. Everything is float32 at the
    highest matrix product precision: bfloat16 here costs 0.08.
    """

    def __init__(self, channels: int, *, scale: float = 1.0, rngs: nnx.Rngs):
        self.gaussian = Buffer(scale * jax.random.normal(rngs.params(), (2, channels // 2)), axes=(None, None))

    def __call__(self, coords: Float[Array, "*n 2"], size: tuple[int, int]) -> Float[Array, "*n c"]:
        """Encode (x, y) in a frame of `size` = (h, w), in the same unit; pixel centres are at +0.5."""
        unit = coords.astype(jnp.float32) / jnp.array([size[1], size[0]], jnp.float32)
        matrix = jax.lax.stop_gradient(self.gaussian[...])
        projected = jnp.matmul(2 * unit - 1, matrix, precision=jax.lax.Precision.HIGHEST) * (2 * jnp.pi)
        return jnp.concatenate([jnp.sin(projected), jnp.cos(projected)], axis=-1)

    def grid(self, size: tuple[int, int]) -> Float[Array, "h w c"]:
        """Encode the centre of every cell of a grid of `size` = (h, w)."""
        y, x = jnp.mgrid[: size[0], : size[1]]
        return self(jnp.stack([x, y], axis=-1) + 0.5, size)


class MaskDownscaler(nnx.Module):
    """Mask logits at four times the image embedding's resolution, to a map like it."""

    def __init__(self, channels: int, embedding: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.conv1 = Patchify(1, channels // 4, 2, init=DECODER_INIT, axis=None, dtype=dtype, rngs=rngs)
        self.norm1 = layer_norm(channels // 4, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.conv2 = Patchify(channels // 4, channels, 2, init=DECODER_INIT, axis=None, dtype=dtype, rngs=rngs)
        self.norm2 = layer_norm(channels, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.conv3 = nnx.Linear(channels, embedding, kernel_init=DECODER_INIT, dtype=dtype, rngs=rngs)

    def features(self, logits: Float[Array, "*n h w"]) -> Float[Array, "*n i f"]:
        """Return what the last convolution, which is 1 x 1, sees of unthresholded logits."""
        cells = cells_of_rows(logits, (logits.shape[-2] // 4, logits.shape[-1] // 4))
        hidden = gelu(self.norm1(self.conv1.of_patches(cells[..., None])))
        return gelu(self.norm2(self.conv2.of_patches(hidden)))


class PromptEncoder(nnx.Module):
    """Embeds prompts; owns the position encoding, which the decoder uses for the image too.

    Args:
      embedding: channels of the prompts and of the image embedding.
      image_size: (height, width) of the model's frame, in pixels.
      grid: (height, width) of the image embedding, in tokens.
      mask_channels: channels of a mask prompt before its last convolution.
      position_scale: see `SamConfig`.
    """

    def __init__(
        self,
        embedding: int,
        *,
        image_size: tuple[int, int],
        grid: tuple[int, int],
        mask_channels: int,
        position_scale: float = 1.0,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.image_size, self.grid = image_size, grid
        normal = nnx.initializers.normal(1.0)

        def learned(*shape: int) -> nnx.Param:
            return parameter(normal, (*shape, embedding), axes=(None,) * (len(shape) + 1), rngs=rngs)

        self.position = PositionEncoding(embedding, scale=position_scale, rngs=rngs)
        self.points = learned(4)  # by PointLabel: background, foreground, box minimum, box maximum
        self.not_a_point = learned()
        self.no_mask = learned()
        self.mask_downscaler = MaskDownscaler(mask_channels, embedding, dtype=dtype, rngs=rngs)

    def __call__(self, prompts: Prompts) -> PromptEmbedding:
        """Embed prompts whose coordinates are pixels of the model's frame. float32 tokens."""
        return PromptEmbedding(sparse=self._sparse(prompts), sparse_valid=prompts.valid, dense=self._dense(prompts))

    def dense_positions(self) -> Float[Array, "h w c"]:
        """Return the position encoding of the image embedding's grid."""
        return self.position.grid(self.grid)

    def _sparse(self, prompts: Prompts) -> Float[Array, "b m p c"]:
        places = self.position(prompts.coords + 0.5, self.image_size)
        placed = places + self.points[...][jnp.clip(prompts.labels, 0, 3)]
        is_point = (prompts.labels != PointLabel.NOT_A_POINT)[..., None]
        return jnp.where(is_point, placed, self.not_a_point[...])

    def _dense(self, prompts: Prompts) -> DensePrompt:
        last, has_mask = self.mask_downscaler.conv3, prompts.has_mask[..., None]
        return DensePrompt(
            features=jnp.where(has_mask[..., None], self.mask_downscaler.features(prompts.mask_logits), 0),
            kernel=last.kernel[...],
            constant=jnp.where(has_mask, last.bias[...], self.no_mask[...]),  # type: ignore[index]
        )
