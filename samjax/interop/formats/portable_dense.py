"""A dense prediction model as a function of named arrays, for any number of photos of its frame, on any platform."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from samjax.interop.formats.portable import Arrays, Half, weights_of, with_weights
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.spatial_attention import AttentionKernel
from samjax.nn.structure import abstract_model


def dense(params: Any, buffers: Any, config: DenseConfig) -> Half:
    """Return `DenseModel.logits`: photos in the corner of the model's frame, and that corner's size, to logits.

    In float32 and plain JAX, whatever the model is computed in.
    """
    model = nnx.merge(*abstract_model(_portable(config).make))
    (images,) = jax.export.symbolic_shape("b")

    def call(weights: Arrays, image: Array, valid_size: Array) -> Arrays:
        return {"logits": with_weights(model, weights).logits(image, valid_size)}

    return Half(
        name="model",
        weights=weights_of(model, params, buffers),
        inputs={
            "image": jax.ShapeDtypeStruct((images, *config.image_size, 3), jnp.uint8),
            "valid_size": jax.ShapeDtypeStruct((images, 2), jnp.int32),
        },
        call=call,
        outputs=("logits",),
    )


def _portable(config: DenseConfig) -> DenseConfig:
    encoder: Any = config.encoder
    if any(field.name == "attention" for field in dataclasses.fields(encoder)):
        encoder = dataclasses.replace(encoder, attention=AttentionKernel.BLOCKWISE)
    return dataclasses.replace(config, dtype="float32", encoder=encoder)
