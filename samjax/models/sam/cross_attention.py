"""Attention between a mask's few tokens and the image, either way (Segment Anything, appendix A)."""

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from samjax.models.sam.image_side import ImageSide, Positions
from samjax.nn.kernels.cell_sweep import Change
from samjax.nn.token_attention import TokenAttention

Tokens = Float[Array, "b m t c"]


class CrossAttention(TokenAttention):
    """An attention between tokens and image whose query and key projections start equal, and train apart.

    Both sides carry encodings of their places, which one projection keeps comparable: a click attends to the image
    around it from the first step, where two random projections have to learn to. On the demo's photos that is a
    held-out mIoU@8 of 0.32 after 330 steps against 0.12 (the paper's loss weights, peak rate 1e-3).

    Equal to a `TokenAttention` of the image's tokens, up to rounding; see `image_side` for what is computed instead.
    """

    def __init__(self, width: int, heads: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        super().__init__(width, width // 2, heads, dtype=dtype, rngs=rngs)
        self.key.kernel.set_value(self.query.kernel[...])

    def to_image(self, queries: Tokens, image: ImageSide, positions: Positions) -> Tokens:
        """Attend from tokens to the image; its keys have positions, its values do not."""
        query = self.query(queries)
        weights = jax.nn.softmax(image.match(self.key, query * query.shape[-1] ** -0.5, positions), axis=-1)
        return self.out(image.gather(self.value, weights.astype(query.dtype)))

    def from_image(
        self, image: ImageSide, positions: Positions, keys: Tokens, values: Tokens, *, key_valid: Bool[Array, "b m t"]
    ) -> Float[Array, "b m i c"]:
        """Attend from every cell of the image to the tokens; those where `key_valid` is False get no weight."""
        key, value = self.key(keys), self.value(values)
        scores = image.match(self.query, key * key.shape[-1] ** -0.5, positions)
        scores = jnp.where(key_valid[..., None, None], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=2).astype(value.dtype)
        kernel, bias = (part[...].astype(value.dtype) for part in (self.out.kernel, self.out.bias))  # type: ignore[index]
        out = jnp.einsum("bmtek,ekc->bmtec", value, kernel)
        return jnp.einsum("bmtei,bmtec->bmic", weights, out) + bias

    def image_queries(self, queries: Tokens) -> Float[Array, "b m t e c"]:
        """Return what `to_image` compares with cells, without the keys' bias: it is the same for all cells."""
        query = self.query(queries)
        kernel = self.key.kernel[...].astype(query.dtype)
        return jnp.einsum("bmtek,cek->bmtec", query * query.shape[-1] ** -0.5, kernel)

    def of_sums(self, sums: Float[Array, "b m t e c"]) -> Tokens:
        """Return the result of `to_image`, given the sums of cells with softmax's weights."""
        kernel, bias = (part[...].astype(sums.dtype) for part in (self.value.kernel, self.value.bias))  # type: ignore[index]
        return self.out(jnp.einsum("bmtec,cek->bmtek", sums, kernel) + bias)

    def change(self, keys: Tokens, values: Tokens, norm: nnx.LayerNorm, *, key_valid: Bool[Array, "b m t"]) -> Change:
        """Return `from_image`, a residual and `norm` as a sweep over the cells of (b m) masks computes them."""
        key, value = self.key(keys), self.value(values)
        key = key * key.shape[-1] ** -0.5
        query, out = (part.kernel[...].astype(key.dtype) for part in (self.query, self.out))
        bias = jnp.einsum("bmtek,ek->bmte", key, self.query.bias[...].astype(key.dtype))  # type: ignore[index]
        bias = jnp.where(key_valid[..., None], bias.astype(jnp.float32), jnp.finfo(jnp.float32).min)
        return Change(
            keys=einops.rearrange(jnp.einsum("bmtek,cek->bmtec", key, query), "b m t e c -> (b m) (t e) c"),
            bias=einops.rearrange(bias, "b m t e -> (b m) (t e)"),
            values=einops.rearrange(jnp.einsum("bmtek,ekc->bmtec", value, out), "b m t e c -> (b m) (t e) c"),
            out_bias=self.out.bias[...],  # type: ignore[index]
            scale=norm.scale[...],  # type: ignore[index]
            shift=norm.bias[...],  # type: ignore[index]
        )
