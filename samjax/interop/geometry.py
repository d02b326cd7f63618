"""A model's size, read from the keys and shapes of its state dict."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.table import SAM, Naming
from samjax.models.sam.config import ImageEncoderConfig, MaskDecoderConfig, SamConfig

_PATCH, _POSITION = "image_encoder/patch_embed/kernel", "image_encoder/position"
_BLOCK = "image_encoder/groups/{block}"
_NORM, _MLP = f"{_BLOCK}/norm1/scale", f"{_BLOCK}/mlp/up/kernel"
_ROWS, _COLUMNS = f"{_BLOCK}/attention/row_positions", f"{_BLOCK}/attention/column_positions"
_NECK, _MASK = "image_encoder/neck/conv1/kernel", "prompt_encoder/mask_downscaler/conv2/kernel"
_LAYER = "mask_decoder/transformer/layers/mlp/up/kernel"
_KEYS = {naming: {row.path: row.keys(naming)[0] for row in SAM if row.keys(naming)} for naming in Naming}

_PUBLISHED = {"ViT-B": SamConfig.vit_b(), "ViT-L": SamConfig.vit_l(), "ViT-H": SamConfig.vit_h()}
_HEAD_CHANNELS = 64  # of every plain ViT but those published with another number
_EMBEDDING, _DECODER_HEADS = 256, 8  # of the paper


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """Whose keys a state dict has, and what stands before each of them: "" or as in "module."."""

    naming: Naming
    prefix: str


@dataclass(frozen=True, kw_only=True)
class Known:
    """What shapes do not say, known from elsewhere."""

    decoder_heads: int | None = None
    global_blocks: tuple[int, ...] | None = None


def recognise(arrays: Mapping[str, np.ndarray], *, name: str) -> Recognised:
    """Return whose naming a state dict, called `name`, has.

    Raises:
      UserError: nobody's that is known, or several models are in it.
    """
    for naming in Naming:
        first, *others = (_key(naming, path) for path in (_PATCH, _POSITION, _MLP))
        starts = [key.removesuffix(first) for key in arrays if key == first or key.endswith(f".{first}")]
        found = [start for start in starts if all(f"{start}{key}" in arrays for key in others)]
        if len(found) > 1:
            raise UserError(f"{name} holds several models, under {', '.join(map(repr, found))}: save one of them alone")
        if found:
            return Recognised(naming=naming, prefix=found[0])
    raise UserError(
        f"{name} is of another architecture: its keys, such as {', '.join(sorted(arrays)[:3]) or 'none'}, are not "
        "those of the Segment Anything release, of transformers' SamModel, or of a plain ViT with a table of positions"
    )


def sam_config(arrays: Mapping[str, np.ndarray], naming: Naming, known: Known) -> SamConfig:
    """Return the config of a whole model, as large as its arrays are.

    Raises:
      UserError: an array that says how large is missing, or there is no config of such a model.
    """
    shapes = _Shapes(arrays, naming)
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
    shapes = _Shapes(arrays, Naming.VIT)
    depth, width = shapes.count(_NORM), shapes.of(_PATCH, axes=4)[0]
    if shapes.key(_ROWS) in arrays:
        shapes.need(*_tables(depth))
        encoder = _with_tables(shapes, depth, None)
    else:
        named = [whole.image_encoder for whole in _PUBLISHED.values() if whole.image_encoder.width == width]
        if depth % 4 or (not named and width % _HEAD_CHANNELS):
            raise UserError(
                f"a ViT of {depth} blocks of width {width} has no place here: blocks are a multiple of 4, every "
                f"quarter's last one global, and the width one of {_HEAD_CHANNELS}"
            )
        heads = named[0].heads if named else width // _HEAD_CHANNELS
        encoder = ImageEncoderConfig(width=width, depth=depth, heads=heads, global_every=depth // 4)
    _patch(shapes)
    return SamConfig(image_encoder=replace(encoder, mlp_ratio=_mlp_ratio(shapes)), dtype="float32")


def size_name(config: SamConfig) -> str:
    """Return `ViT-B`, or what a model's image encoder measures."""
    encoder = config.image_encoder
    for name, published in _PUBLISHED.items():
        one = published.image_encoder
        if (encoder.width, encoder.depth, encoder.heads) == (one.width, one.depth, one.heads):
            return name
    return f"a ViT of {encoder.depth} blocks, width {encoder.width}, {encoder.heads} heads"


class _Shapes:
    """Shapes in a state dict, asked for by our paths."""

    def __init__(self, arrays: Mapping[str, np.ndarray], naming: Naming):
        self.arrays, self.naming = arrays, naming

    def key(self, path: str, number: int = 0) -> str:
        return _key(self.naming, path, number)

    def need(self, *places: tuple[str, int]) -> None:
        keys = (self.key(path, number) for path, number in places)
        missing = [key for key in keys if key not in self.arrays]
        if missing:
            raise UserError(f"{len(missing)} arrays that say how large the model is are missing: {', '.join(missing)}")

    def of(self, path: str, number: int = 0, *, axes: int) -> tuple[int, ...]:
        self.need((path, number))
        shape = self.arrays[self.key(path, number)].shape
        if len(shape) != axes or 0 in shape:
            raise UserError(f"{self.key(path, number)} has shape {shape}, expected {axes} axes")
        return shape

    def count(self, path: str) -> int:
        """Return how many layers a stack has, by its highest number."""
        pattern = re.compile(re.sub(r"\\{\w+\\}", r"(\\d{1,4})", re.escape(_KEYS[self.naming][path])))
        numbers = [int(match[1]) for key in self.arrays if (match := pattern.fullmatch(key))]
        self.need(*[] if numbers else [(path, 0)])
        return max(numbers) + 1


def _key(naming: Naming, path: str, number: int = 0) -> str:
    return re.sub(r"{\w+}", str(number), _KEYS[naming][path])


def _patch(shapes: _Shapes) -> int:
    _, channels, height, width = shapes.of(_PATCH, axes=4)
    if channels != 3 or height != width:
        raise UserError(
            f"{shapes.key(_PATCH)} takes patches of {height} x {width} pixels in {channels} channels, expected square "
            "ones in 3 channels"
        )
    return height


def _mlp_ratio(shapes: _Shapes) -> int:
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
    shapes: _Shapes, depth: int, global_blocks: Sequence[int] | None, *, grid: tuple[int, int] | None = None
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
