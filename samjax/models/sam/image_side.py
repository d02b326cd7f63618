"""The image as the decoder's tokens see it: through linear maps that are never applied to it.

A mask has a dozen tokens and thousands of image cells. What an attention between them needs of a projection of the
image is its products with the tokens (`match`) and its weighted sums (`gather`); both are linear, so the few tokens go
through the projection's kernel instead, and no projection of every cell of every mask is made or kept.

Before the decoder's first layer changes it, the image side is also a sum: the photo's embedding, the same for all its
masks, and a dense prompt that is linear in a few channels. Then the photo is projected once for all masks, and only
those channels are a mask's own. Together more than a fifth of the decoder's arithmetic is saved, and products over the
16 channels of a head, which fill an eighth of a TPU's matrix unit, become products over all channels.
"""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32

from samjax.core.struct import struct
from samjax.parallel.sharding import constrain

Vectors = Float[Array, "b m t e k"]
Weights = Float[Array, "b m t e i"]
Positions = Float[Array, "1 i c"]


@runtime_checkable
class ImageSide(Protocol):
    """The image cells of m masks in each of b photos."""

    def tokens(self) -> Float[Array, "b m i c"]:
        """Return them in full."""
        ...

    def match(self, linear: nnx.LinearGeneral, vectors: Vectors, positions: Positions) -> Float32[Array, "b m t e i"]:
        """Return the products of t vectors in each of e heads with `linear` of every cell, `positions` added to it."""
        ...

    def gather(self, linear: nnx.LinearGeneral, weights: Weights) -> Vectors:
        """Return the sums of `linear` of the cells with `weights`, which must sum to one over the cells."""
        ...


@struct
class ImageTokens:
    """Cells that are a mask's own."""

    cells: Float[Array, "b m i c"]

    def tokens(self) -> Float[Array, "b m i c"]:
        """See `ImageSide`."""
        return self.cells

    def match(self, linear: nnx.LinearGeneral, vectors: Vectors, positions: Positions) -> Float32[Array, "b m t e i"]:
        """See `ImageSide`."""
        kernel, bias = _weights(linear, self.cells.dtype)
        onto = jnp.einsum("bmtek,cek->bmtec", vectors, kernel)
        products = jnp.einsum("bmtec,bmic->bmtei", onto, self.cells + positions, preferred_element_type=jnp.float32)
        return products + jnp.einsum("bmtek,ek->bmte", vectors, bias)[..., None]

    def gather(self, linear: nnx.LinearGeneral, weights: Weights) -> Vectors:
        """See `ImageSide`."""
        kernel, bias = _weights(linear, self.cells.dtype)
        gathered = jnp.einsum("bmtei,bmic->bmtec", weights, self.cells)
        return jnp.einsum("bmtec,cek->bmtek", gathered, kernel) + bias


@struct
class DensePrompt:
    """A map of c channels for each mask, linear in f: `features @ kernel + constant`."""

    features: Float[Array, "b m i f"]
    kernel: Float[Array, "f c"]
    constant: Float[Array, "b m c"]

    def map(self) -> Float[Array, "b m i c"]:
        """Return it in full."""
        kernel, constant = (part.astype(self.features.dtype) for part in (self.kernel, self.constant))
        return self.features @ kernel + constant[:, :, None]


@struct
class PromptedImage:
    """The sum of `image` and `prompt` for each of m masks in each of b photos."""

    image: Float[Array, "b i c"]
    prompt: DensePrompt

    def tokens(self) -> Float[Array, "b m i c"]:
        """See `ImageSide`."""
        return of_masks(self.image[:, None] + self.prompt.map().astype(self.image.dtype))

    def match(self, linear: nnx.LinearGeneral, vectors: Vectors, positions: Positions) -> Float32[Array, "b m t e i"]:
        """See `ImageSide`."""
        photo = linear(self.image + positions)
        features, through, constant = self._prompt(linear)
        shared = jnp.einsum("bmtek,biek->bmtei", vectors, photo, preferred_element_type=jnp.float32)
        onto = jnp.einsum("bmtek,fek->bmtef", vectors, through)
        own = jnp.einsum("bmtef,bmif->bmtei", onto, features, preferred_element_type=jnp.float32)
        return shared + own + jnp.einsum("bmtek,bmek->bmte", vectors, constant)[..., None]

    def gather(self, linear: nnx.LinearGeneral, weights: Weights) -> Vectors:
        """See `ImageSide`."""
        photo = linear(self.image)
        features, through, constant = self._prompt(linear)
        shared = jnp.einsum("bmtei,biek->bmtek", weights, photo)
        gathered = jnp.einsum("bmtei,bmif->bmtef", weights, features)
        return shared + jnp.einsum("bmtef,fek->bmtek", gathered, through) + constant[:, :, None]

    def _prompt(
        self, linear: nnx.LinearGeneral
    ) -> tuple[Float[Array, "b m i f"], Float[Array, "f e k"], Float[Array, "b m e k"]]:
        """Return the dense prompt as `linear` without its bias sees it: features, their kernel and what is constant."""
        kernel, dtype = linear.kernel[...], self.image.dtype
        through = jnp.einsum("fc,cek->fek", self.prompt.kernel, kernel).astype(dtype)
        constant = jnp.einsum("bmc,cek->bmek", self.prompt.constant, kernel).astype(dtype)
        return self.prompt.features.astype(dtype), through, constant


def of_masks(x: Float[Array, "b m *rest"]) -> Float[Array, "b m *rest"]:
    """Keep each photo's masks where the photo is: left alone, the compiler gathers those of all of a mesh.

    Devices that share a photo share out its masks.
    """
    return constrain(x, "batch", "mask", *(None,) * (x.ndim - 2))


def _weights(linear: nnx.LinearGeneral, dtype: jnp.dtype) -> tuple[Float[Array, "c e k"], Float[Array, "e k"]]:
    """Return kernel and bias in the type they are computed in."""
    return linear.kernel[...].astype(dtype), linear.bias[...].astype(dtype)  # type: ignore[index]
