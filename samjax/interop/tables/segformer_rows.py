"""SegFormer's weights: which PyTorch key is which of our paths, the authors' and transformers'."""

from collections.abc import Mapping

from samjax.interop.axes import LINEAR, POINTWISE
from samjax.interop.mapping import Row, move_rows
from samjax.interop.tables import pyramid_rows as pyramid
from samjax.interop.tables.conv_norm_rows import COUNTERS, batch_norm_rows, layer_rows
from samjax.models.dense_prediction.dense_model import DenseConfig

AUTHORS, HUB = "segformer", "segformer-transformers"
"""Names of the layouts of whole models."""
AUTHORS_ENCODER, HUB_ENCODER = "segformer-encoder", "segformer-transformers-encoder"
"""Names of those of the encoder alone, as classifiers have it."""

UNUSED: Mapping[str, tuple[str, ...]] = {
    AUTHORS: ("decode_head.conv_seg.*", COUNTERS),
    HUB: (COUNTERS,),
    AUTHORS_ENCODER: ("head.*",),
    HUB_ENCODER: (),
}
"""Patterns of keys that files have and models do not use: mmsegmentation's heads inherit a classifier, and the authors'
has another; ImageNet's classifier."""

_DIALECTS = {
    AUTHORS: pyramid.AUTHORS,
    HUB: pyramid.SEGFORMER,
    AUTHORS_ENCODER: pyramid.AUTHORS,
    HUB_ENCODER: pyramid.SEGFORMER,
}
_ENCODERS = {AUTHORS: "backbone.", HUB: "segformer.", AUTHORS_ENCODER: "", HUB_ENCODER: ""}


def segformer_rows(config: DenseConfig) -> tuple[Row, ...]:
    """Return the rows of a model, whose paths begin with `encoder` and `head`; which there are depends on its sizes."""
    rows: list[Row] = []
    for layout, dialect in _DIALECTS.items():
        own = pyramid.pyramid_rows(config.encoder, prefixes={dialect: _ENCODERS[layout]})  # type: ignore[arg-type]
        rows += move_rows(own, "encoder/", {layout: dialect})
    for level in range(len(config.encoder.channels)):
        for layout, key in ((AUTHORS, f"linear_c{level + 1}"), (HUB, f"linear_c.{level}")):
            rows += layer_rows(f"head/project/{level}", f"decode_head.{key}.proj", LINEAR, {layout: ""})
    for layout, mix, norm, classes in (
        (AUTHORS, "linear_fuse.conv", "linear_fuse.bn", "linear_pred"),
        (HUB, "linear_fuse", "batch_norm", "classifier"),
    ):
        start = {layout: "decode_head."}
        # The kernel takes the coarsest map's channels first, in files as here.
        rows += layer_rows("head/mix", mix, POINTWISE, start, bias=False)
        rows += batch_norm_rows("head/norm", norm, start)
        rows += layer_rows("head/classify", classes, POINTWISE, start)
    return tuple(rows)
