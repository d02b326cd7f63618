"""The OCR head's weights in the layout of HRFormer's authors."""

from collections.abc import Mapping

from samjax.interop.axes import POINTWISE
from samjax.interop.mapping import Row
from samjax.interop.tables.conv_norm_rows import conv_norm_rows, layer_rows
from samjax.models.heads.ocr import OcrConfig


def ocr_rows(config: OcrConfig, *, prefixes: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows of a head.

    Args:
      config: which arrays there are depends on it.
      prefixes: what its keys begin with, by the name of the layout, such as `{hrnet_rows.AUTHORS: ""}`.
    """
    distribute, bias = "ocr_distri_head", config.attention_bias
    block = f"{distribute}.object_context_block"
    rows = [
        *conv_norm_rows("project", ("conv3x3.0", "conv3x3.1.0"), prefixes, kernel=3, bias=True),
        *conv_norm_rows(
            "auxiliary", ("aux_head.0", "aux_head.1.0"), prefixes, kernel=config.auxiliary_kernel, bias=True
        ),
        *layer_rows("classify_auxiliary", "aux_head.2", POINTWISE, prefixes),
        *layer_rows("classify", "cls_head", POINTWISE, prefixes),
    ]
    for path, key in (
        ("attention/query/0", f"{block}.f_pixel.0"),
        ("attention/query/1", f"{block}.f_pixel.2"),
        ("attention/key/0", f"{block}.f_object.0"),
        ("attention/key/1", f"{block}.f_object.2"),
        ("attention/value", f"{block}.f_down.0"),
        ("attention/out", f"{block}.f_up.0"),
        ("mix", f"{distribute}.conv_bn_dropout.0"),
    ):
        layers, _, number = key.rpartition(".")  # a norm, with its ReLU, follows its convolution
        rows += conv_norm_rows(path, (key, f"{layers}.{int(number) + 1}.0"), prefixes, kernel=1, bias=bias)
    return tuple(rows)
