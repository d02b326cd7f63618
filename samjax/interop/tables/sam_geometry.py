"""A Segment Anything model's size, read from the keys and shapes of its state dict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.mapping import Naming
from samjax.interop.tables.sam_rows import SAM_ROWS, VIT
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.models.sam.sam_sizes import PUBLISHED

_PATCH, _POSITION = "image_encoder/patch_embed/kernel", "image_encoder/position"
_BLOCK = "image_encoder/groups/{block}"
_NORM, _MLP = f"{_BLOCK}/norm1/scale", f"{_BLOCK}/mlp/up/kernel"
_ROWS, _COLUMNS = f"{_BLOCK}/attention/row_positions", f"{_BLOCK}/attention/column_positions"
_NECK, _MASK = "image_encoder/neck/conv1/kernel", "prompt_encoder/mask_downscaler/conv2/kernel"
_LAYER = "mask_decoder/transformer/layers/mlp/up/kernel"
_HEAD_CHANNELS = 64  # of every plain ViT but those published with another number
_EMBEDDING, _DECODER_HEADS = 256, 8  # of the paper


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What shapes do not say, known from elsewhere."""

    decoder_heads: int | None = None
    global_blocks: tuple[int, ...] | None = None


def sam_config(arrays: Mapping[str, np.ndarray], naming: Naming, known: Hints) -> SamConfig:
    """Return the config of a whole model, as large as its arrays are.

    Raises:
      UserError: an array that says how large is missing, or there is no config of such a model.
    """
    shapes = Shapes(arrays, naming, SAM_ROWS)
    depth, layers = shapes.count(_NORM), shapes.count(_LAYER)
    shapes.need((_NECK, 0), (_MASK, 0), (_LAYER, 0), *_tables(depth))
    _, height, width, _ = shapes.of(_POSITION, axes=4)
    patch = _patch(shapes)
    embedding = shapes.of(_NECK, axes=4)[0]
    return SamConfig(
        image_size=(height * patch, width * patch),
        embedding=embedding,
        mask_prompt_channels=shapes.of(_MASK, axes=4)[0],
        image_encoder=replace(
            _with_tables(shapes, depth, known.global_blocks, grid=(height, width)),
            patch=patch,
            mlp_ratio=_mlp_ratio(shapes),
        ),
        mask_decoder=MaskDecoderConfig(
            depth=layers,
            hidden=shapes.of(_LAYER, axes=2)[0],
            heads=_decoder_heads(embedding, known.decoder_heads),
        ),
        dtype="float32",
    )


def vit_config(arrays: Mapping[str, np.ndarray]) -> SamConfig:
    """Return the config of a model whose image encoder can start from a plain ViT, with the paper's frame and patch.

    Raises:
      UserError: there is no such config.
    """
    shapes = Shapes(arrays, VIT, SAM_ROWS)
    depth, width = shapes.count(_NORM), shapes.of(_PATCH, axes=4)[0]
    if shapes.key(_ROWS) in arrays:
        shapes.need(*_tables(depth))
        encoder = _with_tables(shapes, depth, None)
    else:
        named = [whole.image_encoder for whole in PUBLISHED.values() if whole.image_encoder.width == width]
        if depth % 4 or (not named and width % _HEAD_CHANNELS):
            raise UserError(
                f"a ViT of {depth} blocks of width {width} is not supported: blocks must be a multiple of 4, every "
                f"quarter's last one global, and the width one of {_HEAD_CHANNELS}"
            )
        heads = named[0].heads if named else width // _HEAD_CHANNELS
        encoder = ImageEncoderConfig(width=width, depth=depth, heads=heads, global_every=depth // 4)
    _patch(shapes)
    return SamConfig(image_encoder=replace(encoder, mlp_ratio=_mlp_ratio(shapes)), dtype="float32")


def _patch(shapes: Shapes) -> int:
    _, channels, height, width = shapes.of(_PATCH, axes=4)
    if channels != 3 or height != width:
        raise UserError(
            f"{shapes.key(_PATCH)} takes patches of {height} x {width} pixels in {channels} channels, expected square "
            "ones in 3 channels"
        )
    return height


def _mlp_ratio(shapes: Shapes) -> int:
    hidden, width = shapes.of(_MLP, axes=2)
    if hidden % width:
        raise UserError(f"{shapes.key(_MLP)} widens {width} channels to {hidden}, expected a multiple")
    return hidden // width


def _decoder_heads(embedding: int, known: int | None) -> int:
    if known is None and embedding != _EMBEDDING:
        raise UserError(
            f"the mask decoder is {embedding} wide, not {_EMBEDDING} as the paper's, and a state dict does not say how "
            "many heads it has: give --decoder-heads"
        )
    return known or _DECODER_HEADS


def _tables(depth: int) -> list[tuple[str, int]]:
    return [(path, number) for number in range(depth) for path in (_ROWS, _COLUMNS)]


def release_blocks(depth: int) -> list[int]:
    """Return the blocks of `depth` that attend globally in the release: the last of each quarter."""
    divisors = (every for every in range(2, depth + 1) if depth % every == 0)
    every = depth // 4 if depth % 4 == 0 and depth >= 8 else next(divisors, depth)
    return list(range(every - 1, depth, every))


def _with_tables(
    shapes: Shapes, depth: int, global_blocks: Sequence[int] | None, *, grid: tuple[int, int] | None = None
) -> ImageEncoderConfig:
    """Return what the relative position tables of `depth` blocks say; which are global, where nobody does.

    Those for the whole map, of `grid` tokens, are the global blocks'; without it the larger ones. In a map as large as
    a window a global block computes what a windowed one does, and those that the release has are taken.
    """
    width = shapes.of(_PATCH, axes=4)[0]
    sides = [
        tuple((shapes.of(path, number, axes=2)[0] + 1) // 2 for path in (_ROWS, _COLUMNS)) for number in range(depth)
    ]
    channels = shapes.of(_ROWS, axes=2)[1]
    if width % channels:
        raise UserError(f"{shapes.key(_ROWS)} has {channels} channels, expected a divisor of the width, {width}")
    if global_blocks is None and set(sides) == {grid}:
        global_blocks = release_blocks(depth)
    if global_blocks is None:
        if len(set(sides)) != 2:
            found = ", ".join(f"{h} x {w}" for h, w in sorted(set(sides)))
            raise UserError(
                f"the relative position tables of the blocks are for {found} tokens; expected two sizes, a window's "
                "and the whole map's"
            )
        whole = grid if grid in sides else max(sides, key=math.prod)
        global_blocks = [number for number, side in enumerate(sides) if side == whole]
    every = min(global_blocks, default=depth) + 1
    if every < 2 or depth % every or [*global_blocks] != [*range(every - 1, depth, every)]:
        raise UserError(
            f"blocks {', '.join(map(str, global_blocks)) or 'none'} of {depth} attend globally; expected the last one "
            "of each of several groups of equal size, at least 2"
        )
    window = sides[0]
    if window[0] != window[1]:
        raise UserError(f"{shapes.key(_ROWS)} is for windows of {window[0]} x {window[1]} tokens, expected square ones")
    return ImageEncoderConfig(width=width, depth=depth, heads=width // channels, window=window[0], global_every=every)
