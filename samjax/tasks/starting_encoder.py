"""An image encoder that starts as a masked autoencoder's."""

import dataclasses

from samjax.checkpoint.weights import Weights
from samjax.core.errors import UserError
from samjax.models.mae import MaeConfig
from samjax.models.sam.from_vit import encoder_from_vit, vit_arrays
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
