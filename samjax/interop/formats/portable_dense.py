"""A dense prediction model as a function of named arrays, for any number of photos of its frame, on any platform."""

import dataclasses
from typing import Any

from flax import nnx

from samjax.interop.formats.portable import Half, of_photos, weights_of
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.nn.spatial_attention import AttentionKernel
from samjax.nn.structure import abstract_model


def dense(params: Any, buffers: Any, config: DenseConfig) -> Half:
    """Return `DenseModel.logits`: photos in the corner of the model's frame, and that corner's size, to logits.

    In float32 and plain JAX, whatever the model is computed in.
    """
    model = nnx.merge(*abstract_model(_portable(config).make))
    return of_photos(
        "model",
        model,
        weights_of(model, params, buffers),
        image_size=config.image_size,
        output="logits",
        run=DenseModel.logits,
    )


def _portable(config: DenseConfig) -> DenseConfig:
    encoder: Any = config.encoder
    if any(field.name == "attention" for field in dataclasses.fields(encoder)):
        encoder = dataclasses.replace(encoder, attention=AttentionKernel.BLOCKWISE)
    return dataclasses.replace(config, dtype="float32", encoder=encoder)
