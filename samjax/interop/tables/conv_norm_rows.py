"""Rows of the small modules that many tables share: linear layers, norms, and convolutions with batch norms.

`prefixes` is what keys begin with, by the name of each layout that is wanted; the rest of a key is the same in all.
"""

from collections.abc import Mapping

from samjax.interop.axes import CONVOLUTION, POINTWISE, VECTOR, Layout
from samjax.interop.mapping import Row

COUNTERS = "*num_batches_tracked"
"""Pattern of keys with how many batches a norm has seen, of which nothing depends."""


def row(path: str, key: str, layout: Layout, prefixes: Mapping[str, str], **within) -> Row:
    """Return the row of one array."""
    names = {name: (f"{prefix}{key}",) for name, prefix in prefixes.items()}
    return Row(path=path, layout=layout, names=names, **within)


def layer_rows(
    path: str, key: str, layout: Layout, prefixes: Mapping[str, str], *, bias: bool = True, bias_layout: Layout = VECTOR
) -> list[Row]:
    """Return the rows of a linear layer or a convolution; `layout` is the kernel's."""
    kernel = row(f"{path}/kernel", f"{key}.weight", layout, prefixes)
    return [kernel, *([row(f"{path}/bias", f"{key}.bias", bias_layout, prefixes)] if bias else [])]


def norm_rows(path: str, key: str, prefixes: Mapping[str, str]) -> list[Row]:
    """Return the rows of a layer norm."""
    return [
        row(f"{path}/scale", f"{key}.weight", VECTOR, prefixes),
        row(f"{path}/bias", f"{key}.bias", VECTOR, prefixes),
    ]


def batch_norm_rows(path: str, key: str, prefixes: Mapping[str, str]) -> list[Row]:
    """Return the rows of a batch norm, its running statistics too."""
    return [
        *norm_rows(path, key, prefixes),
        row(f"{path}/mean", f"{key}.running_mean", VECTOR, prefixes),
        row(f"{path}/variance", f"{key}.running_var", VECTOR, prefixes),
    ]


def conv_norm_rows(
    path: str, keys: tuple[str, str], prefixes: Mapping[str, str], *, kernel: int, bias: bool = False
) -> list[Row]:
    """Return the rows of a `ConvNorm` at `path`.

    Args:
      path: of the module.
      keys: of its convolution and of its norm.
      prefixes: see the module.
      kernel: side of the convolution's kernel.
      bias: whether it has a bias.
    """
    layout = POINTWISE if kernel == 1 else CONVOLUTION
    return [
        *layer_rows(f"{path}/conv", keys[0], layout, prefixes, bias=bias),
        *batch_norm_rows(f"{path}/norm", keys[1], prefixes),
    ]
