"""Segment Anything that starts from a plain ViT or from Segment Anything of another frame."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samjax.checkpoint.weights import Weights
from samjax.core.errors import UserError
from samjax.core.tree import named_leaves, nest
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.mae import MaeConfig
from samjax.models.sam.from_vit import encoder_from_vit, resize_encoder, vit_arrays
from samjax.models.sam.sam import SamConfig
from samjax.models.vit.blocks import BlockSizes
from samjax.models.vit.tapped_vit import TappedVitConfig

_FREQUENCIES = "prompt_encoder/position/gaussian"


def encoder_of_vit(weights: Weights, theirs: MaeConfig | DenseConfig, ours: SamConfig) -> Weights:
    """Return the plain ViT of a masked autoencoder or of a dense prediction model as the image encoder of a model
    `ours`: patch embedding and positions are resized.

    Raises:
      UserError: there is no plain ViT, or it has another width, depth, number of heads or MLP.
    """
    name, tokens = f"init_from: {weights.path}", 0
    if isinstance(theirs, MaeConfig):
        position = weights.buffers["encoder"]["position"]
    elif isinstance(theirs.encoder, TappedVitConfig) and theirs.encoder.global_every == 1:
        position, tokens = weights.params["encoder"]["position"], theirs.encoder.vit().extra_tokens
    else:
        raise UserError(
            f"{name} holds {theirs.WORDS}, whose backbone is {type(theirs.encoder).__name__}, but an image encoder "
            "starts from a plain ViT; give weights of one"
        )
    check_sizes(name, theirs, ours.image_encoder, ("width", "depth", "heads", "mlp_ratio"))
    arrays = vit_arrays(weights.params["encoder"], position=position)
    try:
        fitted = encoder_from_vit(arrays, ours, class_rows=tokens)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return dataclasses.replace(weights, params=fitted.params, buffers={}, notes=fitted.changes)


def check_sizes(name: str, theirs: MaeConfig | DenseConfig, ours: BlockSizes, sizes: Sequence[str]) -> None:
    """Refuse a model, called `name`, whose plain ViT differs from `ours` in one of `sizes`.

    Raises:
      UserError: it does.
    """
    for size in sizes:
        their_size, our_size = getattr(theirs.encoder, size), getattr(ours, size)
        if their_size != our_size:
            raise UserError(
                f"{name} holds an encoder whose {size} is {their_size}, but this run's is {our_size}; give a ViT "
                "of this size, or train a model of its size"
            )


def sam_in_frame(weights: Weights, theirs: SamConfig, ours: SamConfig) -> Weights:
    """Return weights of a Segment Anything model `theirs` for one that differs in its frame, `ours`.

    The image encoder's tables are resized, and the frequencies that encode places are scaled as `position_scale` is: a
    model whose frame doubles with it tells neighbouring pixels apart as before.

    Raises:
      UserError: the encoder is another one.
    """
    try:
        fitted = resize_encoder(weights.params.get("image_encoder", {}), ours)
    except UserError as error:
        raise UserError(f"init_from: {weights.path}: {error}") from None
    found = dataclasses.replace(weights, params={**weights.params, **fitted.params}, notes=fitted.changes)
    factor = ours.position_scale / theirs.position_scale
    if factor == 1:
        return found
    note = f"frequencies of places: times {factor:g}, from position_scale {theirs.position_scale:g}"
    return dataclasses.replace(found, buffers=_scaled(found.buffers, factor), notes=(*found.notes, note))


def _scaled(buffers: Mapping[str, Any], factor: float) -> Mapping[str, Any]:
    """Return buffers with other frequencies of places."""
    named = named_leaves(buffers)
    return nest({**named, _FREQUENCIES: named[_FREQUENCIES] * np.float32(factor)})


def frame_tables(model: SamConfig) -> tuple[Any, ...]:
    """Return what position tables, their frequencies and the shape of the patch embedding follow from."""
    encoder = model.image_encoder
    return model.grid, model.position_scale, encoder.patch, encoder.window, encoder.global_every
