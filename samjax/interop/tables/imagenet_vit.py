"""Sizes of a plain ViT that was trained on ImageNet, as a backbone of SETR, Segmenter and DPT."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Source
from samjax.interop.tables.dense_reading import used_part
from samjax.interop.tables.imagenet_vit_rows import AUGREG, imagenet_vit_rows
from samjax.interop.tables.vit_geometry import frame, vit_sizes
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.linear import LinearConfig
from samjax.models.vit.tapped_vit import TappedVitConfig

_OTHERS = ("mask_token", "decoder_", "neck.")
"""What keys of ViTs begin with that were trained for something else, and are starts of SAM's image encoder."""


def is_imagenet_vit(arrays: Mapping[str, np.ndarray]) -> bool:
    """Return whether a plain ViT's arrays are one with a class token and a last norm, without relative positions."""
    if "Transformer/encoder_norm/scale" in arrays:
        return True
    needed = all(key in arrays for key in ("pos_embed", "cls_token", "norm.weight"))
    return needed and not any(key.startswith(_OTHERS) or "rel_pos" in key for key in arrays)


def imagenet_vit_config(source: Source) -> DenseConfig:
    """Return a model with the backbone, at the frame that its table of positions is for.

    Raises:
      UserError: an array that says how large it is is missing, or there is no such backbone.
    """
    used = used_part(source)
    shapes = Shapes(used.arrays, used.naming, imagenet_vit_rows(TappedVitConfig(distillation_token=True)))
    sizes = _augreg_sizes(shapes) if used.naming is AUGREG else vit_sizes(shapes)
    encoder = TappedVitConfig(**sizes, distillation_token=shapes.has("encoder/distillation_token"), map_norms=True)
    tokens = 1 + encoder.distillation_token
    return DenseConfig(
        image_size=frame(shapes, patch=encoder.patch, tokens=tokens, image_size=source.image_size),
        encoder=encoder,
        head=LinearConfig(),
        dtype="float32",
    )


def _augreg_sizes(shapes: Shapes) -> dict[str, Any]:
    """Return the same as `vit_sizes`; here an array says how many heads there are."""
    patch, other, channels, width = shapes.of("encoder/patch_embed/kernel", axes=4)
    if channels != 3 or patch != other:
        raise UserError(f"embedding/kernel takes patches of {patch} x {other} pixels in {channels} channels")
    heads, _, _ = shapes.of("encoder/groups/full/attention/out/kernel", axes=3)
    _, hidden = shapes.of("encoder/groups/full/mlp/up/kernel", axes=2)
    if hidden % width:
        raise UserError(f"an MLP widens {width} channels to {hidden}, expected a multiple")
    depth = shapes.count("encoder/groups/full/norm1/scale")
    return {"patch": patch, "width": width, "depth": depth, "heads": heads, "mlp_ratio": hidden // width}
