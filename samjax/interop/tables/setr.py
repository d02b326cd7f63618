"""SETR: the authors' files and mmsegmentation's, which are of networks that differ."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming
from samjax.interop.tables.dense_reading import beyond_pixels, reading, used_part
from samjax.interop.tables.setr_rows import AUTHORS, MMSEGMENTATION, UNUSED, UNUSED_BY_MLA, setr_rows, setr_slots
from samjax.interop.tables.vit_geometry import PUBLISHED, frame, vit_sizes
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.head import HeadConfig
from samjax.models.heads.mla import MlaConfig
from samjax.models.heads.progressive import ProgressiveConfig
from samjax.models.vit.tapped_vit import TappedVitConfig

_SIGNS = ("encoder/position", "encoder/groups/full/mlp/up/kernel")
_OF_HEADS = ("decode_head.conv_0.weight", "decode_head.mlahead.head2.0.weight", "decode_head.up_convs.0.0.conv.weight")
_PREFIXES = {AUTHORS: "", MMSEGMENTATION: ""}
_PUP, _NAIVE, _MLA = "PUP", "Naive", "MLA"
_PROBES = {_PUP: DenseConfig.setr_pup(), _NAIVE: DenseConfig.setr_naive(), _MLA: DenseConfig.setr_mla()}
"""Configs whose tables have the arrays of each kind."""
_AUXILIARY = re.compile(r"auxiliary_head\.(\d)\.")


def _kind(source: Source) -> str:
    if any(key.startswith(("backbone.mla.", "neck.mla.")) for key in source.arrays):
        return _MLA
    shapes = Shapes(source.arrays, source.naming, _rows(_PROBES[_PUP]))
    return _PUP if shapes.of("head/main/convolutions/0/conv/kernel", axes=4)[2] == 3 else _NAIVE


def _fixed(kind: str, naming: Naming) -> dict[str, Any]:
    """Return the fields of a head that no array of a layout says: its code has them."""
    theirs = naming.name == MMSEGMENTATION
    if kind == _MLA:
        return {
            "kernel": 1 if theirs else 3,
            "deepest_first": theirs,
            "align_corners": not theirs,
            "auxiliary_bias": theirs,
        }
    if kind == _PUP:
        return {
            "kernel": 3,
            "factors": (2, 2, 2, 1),
            "auxiliary_factors": (4, 4) if theirs else (4,),
            "use_bias": not theirs,
        }
    return {
        "kernel": 1,
        "factors": (4,) if theirs else (1,),
        "auxiliary_factors": (4, 4) if theirs else (1,),
        "use_bias": not theirs,
    }


def taps(kind: str, depth: int, auxiliary: int) -> tuple[int, ...]:
    """Return the blocks whose maps a head of `kind` takes beside the last one's: the published models', and at depths
    that nobody published the quarters.

    Args:
      kind: of the head.
      depth: blocks.
      auxiliary: how many auxiliary heads there are.

    Raises:
      UserError: there are no such blocks.
    """
    if kind != _MLA and not auxiliary:
        return ()
    count = 3 if kind == _MLA else auxiliary
    if count not in (3, 4) or depth % 4:
        raise UserError(
            f"SETR {kind} with {depth} blocks and {auxiliary} auxiliary heads: no array says from which blocks they "
            "take maps, and samjax knows it of multiples of 4 blocks and of 3 or 4 heads"
        )
    quarters = tuple(depth // 4 * number - 1 for number in (1, 2, 3))
    first = (9, 14, 19) if kind != _MLA and depth == 24 else quarters
    return (*first, depth - 1) if count == 4 else first


def _read(source: Source) -> Reading:
    kind = _kind(source)
    unused = UNUSED_BY_MLA if kind == _MLA else ()
    used = used_part(source, *unused)
    shapes = Shapes(used.arrays, used.naming, _rows(_PROBES[kind]))
    sizes = vit_sizes(shapes)
    numbers = {int(match[1]) for key in used.arrays if (match := _AUXILIARY.match(key))}
    encoder = TappedVitConfig(
        **sizes,
        class_token=kind != _MLA,
        taps=taps(kind, sizes["depth"], len(numbers)),
        map_norms=True,
    )
    config = DenseConfig(
        # MLA's table too begins with the class token's, which is dropped.
        image_size=frame(shapes, patch=encoder.patch, tokens=1, image_size=source.image_size),
        classes=shapes.of("head/classify/kernel" if kind == _MLA else "head/main/classify/kernel", axes=4)[0],
        encoder=encoder,
        head=_head(shapes, kind, used.naming, auxiliary=bool(numbers)),
        dtype="float32",
    )
    return reading(SETR, source, config, unused=unused)


def _head(shapes: Shapes, kind: str, naming: Naming, *, auxiliary: bool) -> HeadConfig:
    fixed = _fixed(kind, naming)
    if kind == _MLA:
        width = shapes.of("head/lateral/0/conv/kernel", axes=4)[0]
        level_width = shapes.of("head/narrow/0/conv/kernel", axes=4)[0]
        return MlaConfig(width=width, level_width=level_width, auxiliary=auxiliary, **fixed)
    width = shapes.of("head/main/convolutions/0/conv/kernel", axes=4)[0]
    return ProgressiveConfig(width=width, auxiliary=auxiliary, **fixed)


def _beyond(config: DenseConfig, naming: Naming) -> str:
    """Return the first field with which a model is not what the layout's code computes."""
    encoder, head = config.encoder, config.head
    assert isinstance(encoder, TappedVitConfig)
    kind = kind_of(config)
    auxiliary = 3 if kind == _MLA else len(encoder.taps)
    expected: dict[str, tuple[Any, Any]] = {
        f"model.head.{name}": (getattr(head, name), value) for name, value in _fixed(kind, naming).items()
    }
    try:
        expected["model.encoder.taps"] = (encoder.taps, taps(kind, encoder.depth, auxiliary))
    except UserError as error:
        return f"is {error}"
    expected["model.encoder.epsilon"] = (encoder.epsilon, 1e-6)
    expected["model.encoder.class_token"] = (encoder.class_token, kind != _MLA)
    if naming.name == AUTHORS:
        expected["model.encoder.patch_bias"] = (encoder.patch_bias, True)
    for name, (ours, theirs) in expected.items():
        if ours != theirs:
            return f"has {name} {ours}, where that has {theirs}"
    return beyond_pixels(config, naming)


def kind_of(config: DenseConfig) -> str:
    """Return which of SETR's heads a model has."""
    if isinstance(config.head, MlaConfig):
        return _MLA
    assert isinstance(config.head, ProgressiveConfig)
    return _PUP if config.head.kernel == 3 else _NAIVE


def _holds(config: DenseConfig) -> bool:
    encoder = config.encoder
    if not isinstance(encoder, TappedVitConfig) or not isinstance(config.head, ProgressiveConfig | MlaConfig):
        return False
    return encoder.map_norms and not encoder.distillation_token and encoder.global_every == 1


def layout_of(config: DenseConfig) -> Naming:
    """Return the layout whose code computes a model; where neither does, the authors'."""
    return next((one for one in (SETR_AUTHORS, SETR_MMSEGMENTATION) if not _beyond(config, one)), SETR_AUTHORS)


def size_name(config: DenseConfig) -> str:
    """Return `MLA ViT-L`, or the head and what a model's encoder measures."""
    assert isinstance(config.encoder, TappedVitConfig)
    return f"{kind_of(config)} {config.encoder.name_among(PUBLISHED)}"


def _is_setr(arrays: Mapping[str, np.ndarray]) -> bool:
    return any(key in arrays for key in _OF_HEADS)


def _rows(config: DenseConfig):
    return setr_rows(config, prefixes=_PREFIXES)


SETR_AUTHORS = Naming(name=AUTHORS, title="SETR's authors", signs=_SIGNS, unused_patterns=UNUSED[AUTHORS])
SETR_MMSEGMENTATION = Naming(
    name=MMSEGMENTATION, title="mmsegmentation's SETR", signs=_SIGNS, unused_patterns=UNUSED[MMSEGMENTATION]
)

SETR = Family(
    name="SETR",
    config=DenseConfig,
    namings=(SETR_AUTHORS, SETR_MMSEGMENTATION),
    rows=_rows,
    stacks=setr_slots,
    read=_read,
    size=size_name,
    sample=_PROBES[_MLA],
    holds=_holds,
    beyond=_beyond,
    is_this=_is_setr,
)
