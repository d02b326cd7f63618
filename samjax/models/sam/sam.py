"""The whole model, from a photo's bytes to masks."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.core.types import MaskOutput, Prompts, valid_pixels
from samjax.models.sam.config import SamConfig
from samjax.models.sam.image_encoder import ImageEncoder
from samjax.models.sam.mask_decoder import DecodedMasks, MaskDecoder
from samjax.models.sam.prompt_encoder import PromptEncoder
from samjax.nn.init import Buffer

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


def normalise(image: UInt8[Array, "b h w 3"], valid_size: Int[Array, "b 2"]) -> Float[Array, "b h w 3"]:
    """Return the photo with zero mean and unit variance a channel; its padding is zero after that, not before."""
    scaled = (image.astype(jnp.float32) - jnp.array(PIXEL_MEAN)) / jnp.array(PIXEL_STD)
    inside = valid_pixels(valid_size, (image.shape[1], image.shape[2]))
    return jnp.where(inside[..., None], scaled, 0.0)


class Sam(nnx.Module):
    """Segment Anything (Kirillov et al., ICCV 2023)."""

    def __init__(self, config: SamConfig, *, rngs: nnx.Rngs):
        self.image_encoder = ImageEncoder(config, rngs=rngs)
        self.prompt_encoder = PromptEncoder(config, rngs=rngs)
        self.mask_decoder = MaskDecoder(config, rngs=rngs)

    def encode(
        self, image: UInt8[Array, "b h w 3"], valid_size: Int[Array, "b 2"], *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "b gh gw c"]:
        """Embed photos that lie in the top-left `valid_size` corner of the model's frame."""
        return self.image_encoder(normalise(image, valid_size), key=key)

    def decode(
        self, embedding: Float[Array, "b gh gw c"], prompts: Prompts, *, key: Key[Array, ""] | None = None
    ) -> MaskOutput:
        """Predict the prompted masks on ready embeddings."""
        return self.decoder(embedding)(prompts, key).every()

    def decoder(self, embedding: Float[Array, "b gh gw c"]) -> Callable[[Prompts, Key[Array, ""] | None], DecodedMasks]:
        """Return `decode` on these embeddings, as the annotator calls it: it paints the masks it asks for."""

        def decode(prompts: Prompts, key: Key[Array, ""] | None) -> DecodedMasks:
            positions = self.prompt_encoder.dense_positions()
            return self.mask_decoder(embedding, self.prompt_encoder(prompts), image_positions=positions, key=key)

        return decode


def abstract_model(config: SamConfig) -> tuple[nnx.GraphDef[Sam], nnx.State, nnx.State]:
    """Return the model's structure, parameters and buffers as shapes: a ViT-H costs nothing."""
    graph, params, buffers = nnx.split(nnx.eval_shape(lambda: Sam(config, rngs=nnx.Rngs(0))), nnx.Param, Buffer)
    return graph, params, buffers


def model_with(config: SamConfig, *, params: Any, buffers: Any, what: str = "the weights") -> Sam:
    """Return a model of `config` with these arrays, pure nested dictionaries; `what` is their name in errors.

    Raises:
      UserError: an array is missing, unexpected or of another shape.
    """
    check_arrays(config, params=params, buffers=buffers, what=what)
    return nnx.merge(_structure(config)[0], *jax.tree.map(jnp.asarray, (params, buffers)))


def check_arrays(config: SamConfig, *, params: Any, buffers: Any, what: str) -> None:
    """Refuse arrays, called `what`, that are not those of a model of `config`.

    Raises:
      UserError: one is missing, unexpected or of another shape.
    """
    wanted = _structure(config)[1]
    given = {name: leaf.shape for part in (params, buffers) for name, leaf in named_leaves(part).items()}
    wrong = [name for name in sorted({*wanted, *given}) if wanted.get(name) != given.get(name)]
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{what} are not of the model that their config describes: {len(wrong)} of {len(wanted)} arrays differ, "
            f"first {name}, {given.get(name, 'missing')}, expected {wanted.get(name, 'none')}"
        )


def array_shapes(config: SamConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer of a model of `config`, by path."""
    return dict(_structure(config)[1])


@functools.cache
def _structure(config: SamConfig) -> tuple[nnx.GraphDef[Sam], dict[str, tuple[int, ...]]]:
    """Return the model's structure and its arrays' shapes: it takes a second to trace."""
    graph, *parts = abstract_model(config)
    leaves = {name: leaf for part in parts for name, leaf in named_leaves(nnx.to_pure_dict(part)).items()}
    return graph, {name: leaf.shape for name, leaf in leaves.items()}
