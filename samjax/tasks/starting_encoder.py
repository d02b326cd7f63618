"""An image encoder that starts as a masked autoencoder's, or as Segment Anything's of another frame."""

import dataclasses
from typing import Any

from samjax.checkpoint.weights import Weights
from samjax.core.errors import UserError
from samjax.models.mae import MaeConfig
from samjax.models.sam.from_vit import encoder_from_vit, resize_encoder, vit_arrays
from samjax.models.sam.sam import SamConfig


def encoder_of_mae(weights: Weights, theirs: MaeConfig, ours: SamConfig) -> Weights:
    """Return the image encoder of a masked autoencoder as that of a model `ours`: patch embedding and positions are
    resized.

    Raises:
      UserError: the encoder has another width, depth, number of heads or MLP.
    """
    name = f"init_from: {weights.path}"
    for size in ("width", "depth", "heads", "mlp_ratio"):
        their_size, our_size = getattr(theirs.encoder, size), getattr(ours.image_encoder, size)
        if their_size != our_size:
            raise UserError(
                f"{name} holds an encoder whose {size} is {their_size}, but this run's is {our_size}; give a masked "
                "autoencoder of this size, or train a model of its size"
            )
    arrays = vit_arrays(weights.params["encoder"], position=weights.buffers["encoder"]["position"])
    try:
        fitted = encoder_from_vit(arrays, ours)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return dataclasses.replace(weights, params=fitted.params, buffers={}, notes=fitted.changes)


def encoder_in_frame(weights: Weights, ours: SamConfig) -> Weights:
    """Return weights of a Segment Anything model with the tables of its image encoder resized for a model `ours`.

    Raises:
      UserError: the encoder is another one.
    """
    try:
        fitted = resize_encoder(weights.params.get("image_encoder", {}), ours)
    except UserError as error:
        raise UserError(f"init_from: {weights.path}: {error}") from None
    return dataclasses.replace(weights, params={**weights.params, **fitted.params}, notes=fitted.changes)


def frame_tables(model: SamConfig) -> tuple[Any, ...]:
    """Return what the shapes of position tables and of the patch embedding follow from."""
    encoder = model.image_encoder
    return model.grid, encoder.patch, encoder.window, encoder.global_every
