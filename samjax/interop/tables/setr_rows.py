"""SETR's weights: which PyTorch key is which of our paths, in the authors' files and in mmsegmentation's."""

from collections.abc import Mapping

from samjax.core.errors import UserError
from samjax.interop.axes import CONVOLUTION, POINTWISE
from samjax.interop.mapping import Row, Slot, plain_slots
from samjax.interop.tables.conv_norm_rows import COUNTERS, conv_norm_rows, layer_rows, norm_rows
from samjax.interop.tables.vit_rows import Dialect, vit_rows
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.mla import MlaConfig
from samjax.models.heads.progressive import ProgressiveConfig
from samjax.models.vit.tapped_vit import TappedVitConfig

AUTHORS, MMSEGMENTATION = "setr", "setr-mmsegmentation"
"""Names of the layouts."""

UNUSED: Mapping[str, tuple[str, ...]] = {
    AUTHORS: ("*.conv_seg.weight", "*.conv_seg.bias", COUNTERS),
    MMSEGMENTATION: (COUNTERS,),
}
"""Patterns of keys that files have and models do not use: every head of the authors' inherits a classifier and has
another."""
UNUSED_BY_MLA = ("backbone.cls_token",)
"""The same of MLA, which drops the class token before the first block."""

_DIALECTS = {AUTHORS: Dialect.TIMM, MMSEGMENTATION: Dialect.MMSEGMENTATION}


def setr_slots(config: DenseConfig) -> dict[str, list[Slot]]:
    """Return the layers of every stack, by the stack's placeholder."""
    return {"block": plain_slots(_encoder(config).depth)}


def setr_rows(config: DenseConfig, *, prefixes: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows of a whole model, whose paths begin with `encoder` and `head`.

    Args:
      config: which arrays there are depends on it.
      prefixes: what all keys begin with, by the name of each layout that is wanted; an empty string in published files.

    Raises:
      UserError: it is no SETR.
    """
    encoder, head = _encoder(config), config.head
    rows = vit_rows(
        "encoder/",
        {layout: (_DIALECTS[layout], f"{prefix}backbone.") for layout, prefix in prefixes.items()},
        patch_bias=encoder.patch_bias,
        class_token=encoder.class_token,
        distillation_token=encoder.distillation_token,
    )
    for layout, prefix in prefixes.items():
        if isinstance(head, ProgressiveConfig):
            rows += _progressive(head, encoder.maps, layout, {layout: prefix})
        elif isinstance(head, MlaConfig):
            rows += _mla(head, encoder.maps, layout, {layout: prefix})
        else:
            raise UserError(f"model.head is {type(head).__name__}; SETR has ProgressiveConfig or MlaConfig")
    return tuple(rows)


def _encoder(config: DenseConfig) -> TappedVitConfig:
    if not isinstance(config.encoder, TappedVitConfig):
        raise UserError(f"model.encoder is {type(config.encoder).__name__}; SETR has TappedVitConfig")
    return config.encoder


def _progressive(head: ProgressiveConfig, maps: int, layout: str, prefix: Mapping[str, str]) -> list[Row]:
    """Each branch begins with the norm of its map, which here is the backbone's."""
    branches = [(maps - 1, "head/main", "decode_head", len(head.factors))]
    if head.auxiliary:
        count = len(head.auxiliary_factors)
        branches += [(one, f"head/auxiliary/{one}", f"auxiliary_head.{one}", count) for one in range(maps - 1)]
    rows = []
    for index, path, key, count in branches:
        rows += norm_rows(f"encoder/norms/{index}", f"{key}.norm", prefix)
        for one in range(count):
            keys = f"{key}.conv_{one}", f"{key}.syncbn_fc_{one}"
            if layout == MMSEGMENTATION:
                keys = f"{key}.up_convs.{one}.0.conv", f"{key}.up_convs.{one}.0.bn"
            place = f"{path}/convolutions/{one}"
            rows += conv_norm_rows(place, keys, prefix, kernel=head.kernel, bias=head.use_bias)
        classes = f"{key}.conv_{count}" if layout == AUTHORS else f"{key}.conv_seg"
        rows += layer_rows(f"{path}/classify", classes, POINTWISE, prefix)
    return rows


def _mla(head: MlaConfig, maps: int, layout: str, prefix: Mapping[str, str]) -> list[Row]:
    rows = []
    for one in range(maps):
        norm, auxiliary, layers = (_mla_authors if layout == AUTHORS else _mla_mmsegmentation)(one, maps)
        rows += norm_rows(f"encoder/norms/{one}", norm, prefix)
        for path, keys in layers.items():
            kernel = 1 if path == "lateral" else 3
            rows += conv_norm_rows(f"head/{path}/{one}", keys, prefix, kernel=kernel)
        if head.auxiliary:
            rows += layer_rows(f"head/auxiliary/{one}", auxiliary, POINTWISE, prefix, bias=head.auxiliary_bias)
    classes = "decode_head.cls" if layout == AUTHORS else "decode_head.conv_seg"
    return [*rows, *layer_rows("head/classify", classes, CONVOLUTION, prefix)]


_OfMap = tuple[str, str, dict[str, tuple[str, str]]]
"""Keys of a map's norm, of its auxiliary classes, and of convolution and norm of each of its layers."""


def _mla_authors(one: int, maps: int) -> _OfMap:
    """They number layers from 2."""
    lateral, smooth = f"backbone.mla.mla_p{one + 2}_1x1", f"backbone.mla.mla_p{one + 2}"
    level = f"decode_head.mlahead.head{one + 2}"
    layers = {
        "lateral": (f"{lateral}.0", f"{lateral}.1"),
        "smooth": (f"{smooth}.0", f"{smooth}.1"),
        "narrow": (f"{level}.0", f"{level}.1"),
        "mix": (f"{level}.3", f"{level}.4"),
    }
    return f"backbone.norm_{one}", f"auxiliary_head.{one}.aux", layers


def _mla_mmsegmentation(one: int, maps: int) -> _OfMap:
    """Once maps are summed, it numbers them from the deepest."""
    turned = maps - 1 - one
    places = {
        "lateral": f"neck.mla.channel_proj.{one}",
        "smooth": f"neck.mla.feat_extract.{turned}",
        "narrow": f"decode_head.up_convs.{turned}.0",
        "mix": f"decode_head.up_convs.{turned}.1",
    }
    layers = {path: (f"{place}.conv", f"{place}.bn") for path, place in places.items()}
    return f"neck.norm.{one}", f"auxiliary_head.{turned}.conv_seg", layers
