"""Sizes of a plain ViT as a backbone, read from its arrays' shapes."""

from collections.abc import Mapping
from typing import Any

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.models.vit.tapped_vit import TappedVitConfig

PUBLISHED = {
    "ViT-T": TappedVitConfig(width=192, heads=3),
    "ViT-S": TappedVitConfig(width=384, heads=6),
    "ViT-B": TappedVitConfig(),
    "ViT-L": TappedVitConfig(width=1024, depth=24, heads=16),
    "ViT-H": TappedVitConfig(patch=14, width=1280, depth=32, heads=16),
}
HEADS = {one.width: one.heads for one in PUBLISHED.values()}
"""Attention heads of published ViTs, by their width."""


def vit_sizes(shapes: Shapes, *, heads: int | None = None) -> dict[str, Any]:
    """Return the fields of a `TappedVitConfig` that are read from arrays below `encoder`, and its `heads` where known.

    Raises:
      UserError: an array that says how large it is is missing, or there is no such encoder.
    """
    width, channels, patch, other = shapes.of("encoder/patch_embed/kernel", axes=4)
    if channels != 3 or patch != other:
        raise UserError(
            f"{shapes.key('encoder/patch_embed/kernel')} takes patches of {patch} x {other} pixels in {channels} "
            "channels, expected square ones in 3 channels"
        )
    return {
        "patch": patch,
        "width": width,
        "depth": shapes.count("encoder/groups/full/norm1/scale"),
        "heads": heads or heads_of(width, HEADS, "the encoder"),
        "mlp_ratio": mlp_ratio(shapes, "encoder/groups/full/mlp/up/kernel"),
        "patch_bias": shapes.has("encoder/patch_embed/bias"),
    }


def mlp_ratio(shapes: Shapes, path: str) -> int:
    """Return how many hidden units the MLP with the kernel at `path` has for each channel."""
    hidden, width = shapes.of(path, axes=2)
    if hidden % width:
        raise UserError(f"{shapes.key(path)} widens {width} channels to {hidden}, expected a multiple")
    return hidden // width


def heads_of(width: int, published: Mapping[int, int], what: str) -> int:
    """Return the attention heads of blocks of `width`: a published model's, else one for each 64 channels.

    Raises:
      UserError: the width is neither; `what` names the blocks.
    """
    if width not in published and width % 64:
        raise UserError(
            f"{what} is {width} wide, and a state dict does not say how many attention heads it has: samjax knows "
            f"those of the published widths, {', '.join(map(str, published))}, and takes one for each 64 channels of "
            "others"
        )
    return published.get(width, width // 64)


def frame(shapes: Shapes, *, patch: int, tokens: int, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the (height, width) in pixels that the table of positions is for: `image_size`, else a square.

    Args:
      patch: side of a patch in pixels.
      tokens: rows of the table in front, which are learned tokens'.
      image_size: what the user gave.

    Raises:
      UserError: the table is not for it.
    """
    rows = shapes.of("encoder/position", axes=3)[1] - tokens
    side = round(max(rows, 0) ** 0.5)
    grid = (side, side) if image_size is None else (image_size[0] // patch, image_size[1] // patch)
    is_whole = image_size is None or (image_size[0] % patch == 0 and image_size[1] % patch == 0)
    if rows < 1 or grid[0] * grid[1] != rows or not is_whole:
        raise UserError(
            f"{shapes.key('encoder/position')} has positions of {rows} patches of {patch} pixels, not those of "
            + (
                "a square: give --image-size with the frame they are for"
                if image_size is None
                else f"{image_size[0]} x {image_size[1]} pixels: give --image-size with the frame they are for"
            )
        )
    return grid[0] * patch, grid[1] * patch
