"""Semantic FPN's weights in mmsegmentation's layout, which PVT's authors use too."""

from collections.abc import Mapping

from samjax.interop.axes import CONVOLUTION, POINTWISE
from samjax.interop.mapping import Row
from samjax.interop.tables.conv_norm_rows import COUNTERS, conv_norm_rows, layer_rows
from samjax.models.heads.fpn import level_doublings

MMSEGMENTATION = "mmsegmentation"
"""Name of the layout."""

UNUSED = (COUNTERS,)
"""Patterns of keys that files have and the model does not use."""


def fpn_rows(strides: tuple[int, ...], *, prefixes: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows of a head.

    Args:
      strides: of the maps that it takes, as its encoder gives them.
      prefixes: what its keys begin with, by the name of the layout, such as `{MMSEGMENTATION: ""}`.
    """
    rows = layer_rows("classify", "decode_head.conv_seg", POINTWISE, prefixes)
    for level, doublings in enumerate(level_doublings(strides)):
        rows += layer_rows(f"pyramid/lateral/{level}", f"neck.lateral_convs.{level}.conv", POINTWISE, prefixes)
        rows += layer_rows(f"pyramid/out/{level}", f"neck.fpn_convs.{level}.conv", CONVOLUTION, prefixes)
        for step in range(max(1, doublings)):
            key = f"decode_head.scale_heads.{level}.{2 * step}"  # between them stands what doubles the map
            rows += conv_norm_rows(f"levels/{level}/steps/{step}", (f"{key}.conv", f"{key}.bn"), prefixes, kernel=3)
    return tuple(rows)
