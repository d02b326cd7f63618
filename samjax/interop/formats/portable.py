"""Segment Anything's two halves as functions of named arrays: for any number of images, masks and prompts, anywhere."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from samjax.core.prompts import Prompts
from samjax.core.tree import named_leaves, nest
from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.spatial_attention import AttentionKernel
from samjax.nn.structure import abstract_model

Arrays = dict[str, Any]
M = TypeVar("M", bound=nnx.Module)


@dataclass(frozen=True, kw_only=True)
class Half:
    """A function, and what it takes and gives: what a photo needs once, or what a prompt needs; or a whole model."""

    name: str
    weights: dict[str, np.ndarray]
    """By path, float32."""
    inputs: dict[str, jax.ShapeDtypeStruct]
    """Shapes with the symbols b images, m masks and p prompt slots, each at least 1."""
    call: Callable[..., Arrays]
    """`call(weights, *inputs)` returns `outputs` by name."""
    outputs: tuple[str, ...]

    def of_weights(self, weights: Arrays) -> Callable[..., tuple[Array, ...]]:
        """Return the function of the inputs alone, its outputs in order."""

        def call(*inputs: Array) -> tuple[Array, ...]:
            out = self.call(weights, *inputs)
            return tuple(out[name] for name in self.outputs)

        return call


def encoder(params: Any, buffers: Any, config: SamConfig) -> Half:
    """Return `Sam.encode`: photos in the corner of the model's frame, and the size of that corner, to embeddings."""
    model = _without(config, "prompt_encoder", "mask_decoder")
    return of_photos(
        "encoder",
        model,
        weights_of(model, params, buffers),
        image_size=config.image_size,
        output="embedding",
        run=Sam.encode,
    )


def of_photos(
    name: str,
    model: nnx.Module,
    weights: Arrays,
    *,
    image_size: tuple[int, int],
    output: str,
    run: Callable[[Any, Array, Array], Array],
) -> Half:
    """Return a function of photos in the corner of a frame, and of the size of that corner: `run` of the model."""
    (images,) = jax.export.symbolic_shape("b")

    def call(weights: Arrays, image: Array, valid_size: Array) -> Arrays:
        return {output: run(with_weights(model, weights), image, valid_size)}

    return Half(
        name=name,
        weights=weights,
        inputs={
            "image": jax.ShapeDtypeStruct((images, *image_size, 3), jnp.uint8),
            "valid_size": jax.ShapeDtypeStruct((images, 2), jnp.int32),
        },
        call=call,
        outputs=(output,),
    )


def decoder(params: Any, buffers: Any, config: SamConfig) -> Half:
    """Return `Sam.decode`: embeddings and prompts to the four masks of every object and their estimated IoU."""
    model = _without(config, "image_encoder")
    images, masks, slots = jax.export.symbolic_shape("b, m, p")

    def call(weights: Arrays, embedding: Array, *prompts: Array) -> Arrays:
        named = dict(zip(inputs, (embedding, *prompts), strict=True))
        output = with_weights(model, weights).decode(named.pop("embedding"), Prompts(**named))
        return {"logits": output.logits, "iou": output.iou}

    inputs = {
        "embedding": jax.ShapeDtypeStruct((images, *config.embedding_shape), jnp.float32),
        "coords": jax.ShapeDtypeStruct((images, masks, slots, 2), jnp.float32),
        "labels": jax.ShapeDtypeStruct((images, masks, slots), jnp.int32),
        "valid": jax.ShapeDtypeStruct((images, masks, slots), jnp.bool_),
        "mask_logits": jax.ShapeDtypeStruct((images, masks, *config.logits_size), jnp.float32),
        "has_mask": jax.ShapeDtypeStruct((images, masks), jnp.bool_),
    }
    return Half(
        name="decoder",
        weights=weights_of(model, params, buffers),
        inputs=inputs,
        call=call,
        outputs=("logits", "iou"),
    )


def _portable(config: SamConfig) -> SamConfig:
    """Return `config` in float32 and plain JAX: nothing that one platform alone has."""
    image_encoder = dataclasses.replace(config.image_encoder, attention=AttentionKernel.BLOCKWISE)
    return dataclasses.replace(config, dtype="float32", image_encoder=image_encoder)


def _without(config: SamConfig, *parts: str) -> Sam:
    """Return the model as shapes, without those parts."""
    model = nnx.merge(*_split(_portable(config)))
    for part in parts:
        delattr(model, part)
    return model


@functools.cache
def _split(config: SamConfig) -> tuple[nnx.GraphDef[Sam], nnx.State, nnx.State]:
    return abstract_model(config.make)


def weights_of(model: nnx.Module, params: Any, buffers: Any) -> dict[str, np.ndarray]:
    """Return the arrays that the model has parts for."""
    wanted = named_leaves(nnx.to_pure_dict(nnx.state(model)))
    given = {name: leaf for tree in (params, buffers) for name, leaf in named_leaves(tree).items()}
    return {name: np.asarray(given[name], np.float32) for name in wanted}


def with_weights(model: M, weights: Arrays) -> M:
    """Return the model, given as shapes, with these arrays."""
    graph, state = nnx.split(model)
    nnx.replace_by_pure_dict(state, nest(weights))
    return nnx.merge(graph, state)
