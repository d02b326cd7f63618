"""Masked autoencoders: the release's files, an encoder alone or with its decoder, and transformers' ViTMAE."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Family, Reading, Source
from samjax.interop.tables.mae_rows import HUB, HUB_ENCODER, LIVE, MAE_ROWS, RELEASE, RELEASE_ENCODER, SAVED, slots
from samjax.models.mae import MaeConfig, MaeDecoderConfig
from samjax.models.mae_sizes import PUBLISHED, size_name
from samjax.models.vit.vit import Positions, VitConfig
from samjax.nn.sin_cos import sin_cos_table

_NORM, _UP, _PATCH = (
    "encoder/groups/full/norm1/scale",
    "encoder/groups/full/mlp/up/kernel",
    "encoder/patch_embed/kernel",
)
_DECODER_NORM, _EMBED = "decoder/groups/full/norm1/scale", "decoder/embed/kernel"
_TABLES = ("encoder/position", "decoder/position")
_HEAD_CHANNELS, _DECODER_HEADS, _DECODER_WIDTH = 64, 16, 512  # of the paper's models
_VISIBLE = 0.25
_FIXED = {"hidden_act": "gelu", "num_channels": 3, "qkv_bias": True}
"""Fields of config.json that every model here has alike, and their defaults there."""


def is_mae(arrays: Mapping[str, np.ndarray]) -> bool:
    """Return whether a ViT's arrays are a masked autoencoder's: there is a decoder, or positions are not trained.

    An encoder alone has a plain ViT's keys. Its positions are MAE's sines and cosines to a thousandth, and the class
    token's row is zero.
    """
    if any(key.endswith("decoder_pos_embed") for key in arrays):
        return True
    table = next((arrays[key] for key in ("pos_embed", "embeddings.position_embeddings") if key in arrays), None)
    if table is None or table.ndim != 3 or table.shape[2] % 4:
        return False
    side = round((table.shape[1] - 1) ** 0.5)
    if side < 1 or side**2 + 1 != table.shape[1]:
        return False
    expected = np.asarray(sin_cos_table((side, side), table.shape[2])).reshape(side**2, -1)
    return not table[0, 0].any() and np.allclose(table[0, 1:], expected, atol=1e-3)


def mae_config(source: Source) -> MaeConfig:
    """Return the config of a model as large as its arrays are; what they do not say is config.json's or the paper's.

    Raises:
      UserError: an array that says how large is missing, or there is no config of such a model.
    """
    shapes = Shapes(source.arrays, source.naming, MAE_ROWS)
    described = _described(source)
    width, channels, patch, other = shapes.of(_PATCH, axes=4)
    if channels != 3 or patch != other:
        raise UserError(f"{shapes.key(_PATCH)} takes patches of {patch} x {other} pixels in {channels} channels")
    hidden = shapes.of(_UP, axes=2)[0]
    if hidden % width:
        raise UserError(f"{shapes.key(_UP)} widens {width} channels to {hidden}, expected a multiple")
    heads = described.get("num_attention_heads") or _heads(width)
    height, across = _grid(shapes, patch, source.image_size)
    visible = int(height * across * (1 - described.get("mask_ratio", 1 - _VISIBLE)))
    return MaeConfig(
        image_size=(height * patch, across * patch),
        encoder=VitConfig(
            patch=patch,
            width=width,
            depth=shapes.count(_NORM),
            heads=heads,
            mlp_ratio=hidden // width,
            epsilon=described.get("layer_norm_eps", VitConfig().epsilon),
            class_token=True,
            positions=Positions.SIN_COS,
        ),
        decoder=MaeDecoderConfig() if source.naming.part else _decoder(shapes, source, described),
        visible=max(1, visible),
        normalise_targets=described.get("norm_pix_loss", True),
        dtype="float32",
    )


def _heads(width: int) -> int:
    named = [one.encoder.heads for one in PUBLISHED.values() if one.encoder.width == width]
    if not named and width % _HEAD_CHANNELS:
        raise UserError(
            f"the encoder is {width} wide, and a state dict does not say how many heads it has: give a folder of "
            f"transformers with its config.json, or a width that is a multiple of {_HEAD_CHANNELS}"
        )
    return named[0] if named else width // _HEAD_CHANNELS


def _decoder(shapes: Shapes, source: Source, described: Mapping[str, Any]) -> MaeDecoderConfig:
    width = shapes.of(_EMBED, axes=2)[0]
    heads = described.get("decoder_num_attention_heads") or source.decoder_heads
    if heads is None and width != _DECODER_WIDTH:
        raise UserError(
            f"the decoder is {width} wide, not {_DECODER_WIDTH} as the paper's, and a state dict does not say how many "
            "heads it has: give --decoder-heads"
        )
    return MaeDecoderConfig(width=width, depth=shapes.count(_DECODER_NORM), heads=heads or _DECODER_HEADS)


def _grid(shapes: Shapes, patch: int, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """Return (height, width) of the table of positions, in tokens: a square's, or that of `image_size`."""
    _, rows, _ = shapes.of(_TABLES[0], axes=3)
    side = round((rows - 1) ** 0.5)
    grid = (side, side) if image_size is None else (image_size[0] // patch, image_size[1] // patch)
    if grid[0] * grid[1] != rows - 1:
        raise UserError(
            f"{shapes.key(_TABLES[0])} has {rows - 1} tokens beside the class token's, not {grid[0]} x {grid[1]}: "
            + ("give --image-size with the frame they are for" if image_size is None else "MAE keeps its own frame")
        )
    return grid


def _described(source: Source) -> Mapping[str, Any]:
    """Return config.json's fields where there is one, of a model that is computed here."""
    config = source.config_json
    if config is None or source.naming in (RELEASE, RELEASE_ENCODER):
        return {}
    name = f"{source.name}/config.json"
    if config.get("model_type") != "vit_mae":
        raise UserError(f"{name} is of a model of type {config.get('model_type')!r:.40}, expected 'vit_mae'")
    faults = [
        f"{field} is {config[field]!r:.40}, expected {value!r}"
        for field, value in _FIXED.items()
        if config.get(field, value) != value
    ]
    if faults:
        raise UserError(f"samjax does not support the model of {name}: {'; '.join(faults)}")
    defaults = {"layer_norm_eps": 1e-12, "norm_pix_loss": False, "mask_ratio": 0.75}
    return {**defaults, **config}


def _read(source: Source) -> Reading:
    config = mae_config(source)
    for path in _TABLES:
        key = next((row.keys(source.naming)[0] for row in MAE_ROWS if row.path == path and row.keys(source.naming)), "")
        if key in source.arrays and source.arrays[key].ndim == 3 and source.arrays[key][0, 0].any():
            raise UserError(
                f"{source.name}: {key} gives the class token a position, and MAE's has none: its row is zero"
            )
    params, buffers = MAE.from_torch(source.arrays, config, source.naming)
    notes = []
    if source.naming.part:
        notes.append("the encoder alone: a run that starts from it makes a fresh decoder")
    elif source.config_json is None or source.naming is RELEASE:
        notes.append(
            "no array says whether the decoder predicts normalised pixels: it is taken to, as the published "
            "mae_pretrain_*_full do"
        )
    return Reading(config=config, params=params, buffers=buffers, notes=tuple(notes))


MAE = Family(
    name="masked autoencoder",
    config=MaeConfig,
    namings=(HUB, SAVED, LIVE, RELEASE, RELEASE_ENCODER, HUB_ENCODER),
    rows=lambda config: MAE_ROWS,
    stacks=slots,
    read=_read,
    size=size_name,
    is_this=is_mae,
)
