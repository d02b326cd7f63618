"""Sizes of a pyramid vision transformer, read from its arrays' shapes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.nn.reduction_attention import Reduction

EVERYTHING = PyramidConfig(reduction=Reduction.POOL)
"""A pyramid with every array that overlapping patches have: in files, a layout's key of each is looked up in its table.
"""
APART = PyramidConfig.pvt_tiny()
"""The same of patches that do not overlap."""
HEADS = PyramidConfig().heads
"""Attention heads of each stage of all published models."""

_STAGES = range(4)


def pyramid_config(shapes: Shapes, *, heads: tuple[int, ...] | None = None, **fields: Any) -> PyramidConfig:
    """Return the config of the encoder whose arrays `shapes` has below `encoder`; its table is that of `EVERYTHING` or
    `APART`.

    Args:
      heads: attention heads of each stage, the published models' where nobody says.
      fields: what no shape says.

    Raises:
      UserError: an array that says how large it is is missing, or there is no such encoder.
    """
    widths, depths, ratios, kernels = [], [], [], []
    for stage in _STAGES:
        start = f"encoder/stages/{stage}"
        width, *_ = shapes.of(f"{start}/patches/project/kernel", axes=4)
        hidden, _ = shapes.of(f"{start}/blocks/mlp/up/kernel", axes=2)
        if hidden % width:
            key = shapes.key(f"{start}/blocks/mlp/up/kernel")
            raise UserError(f"{key} widens {width} channels to {hidden}, expected a multiple")
        reduce = f"{start}/blocks/attention/reduce/kernel"
        widths.append(width)
        depths.append(shapes.count(f"{start}/blocks/norm1/scale"))
        ratios.append(hidden // width)
        kernels.append(shapes.of(reduce, axes=4)[2] if shapes.has(reduce) else None)
    overlapping = not shapes.has("encoder/stages/0/patches/position")
    base = PyramidConfig() if overlapping else APART
    if set(kernels) == {1}:
        base = replace(base, reduction=Reduction.POOL)
    else:
        base = replace(base, reductions=tuple(kernel or 1 for kernel in kernels))  # type: ignore[arg-type]
    if heads is None and any(width % count for width, count in zip(widths, HEADS, strict=True)):
        raise UserError(
            f"the encoder's stages are {', '.join(map(str, widths))} wide, and a state dict does not say how many "
            f"attention heads they have; those of published models, {', '.join(map(str, HEADS))}, do not divide the "
            "widths: give a folder of transformers with its config.json"
        )
    sizes: Any = {"widths": tuple(widths), "depths": tuple(depths), "mlp_ratios": tuple(ratios)}
    return replace(base, **sizes, heads=heads or HEADS, **fields)


def first_ratio(arrays: Mapping[str, np.ndarray]) -> int | None:
    """Return how many hidden units the first MLP of an encoder alone has for each channel, None of other arrays.

    SegFormer's all have four. PVT's and PVT v2's have eight, but for B5, whose arrays are those of SegFormer's B5.
    """
    for up, patches in (
        ("block1.0.mlp.fc1.weight", "patch_embed1.proj.weight"),
        ("encoder.block.0.0.mlp.dense1.weight", "encoder.patch_embeddings.0.proj.weight"),
    ):
        if up in arrays and patches in arrays:
            return arrays[up].shape[0] // arrays[patches].shape[0]
    return None


def pyramid_name(config: PyramidConfig, published: dict[str, PyramidConfig]) -> str:
    """Return the name of the published sizes that these are, such as `B0`; of others their widths and depths."""
    for name, one in published.items():
        if (config.widths, config.depths, config.mlp_ratios) == (one.widths, one.depths, one.mlp_ratios) and (
            config.reduction is one.reduction and config.overlapping is one.overlapping
        ):
            return name
    widths, depths = (" ".join(map(str, numbers)) for numbers in (config.widths, config.depths))
    return f"of widths {widths} and depths {depths}"
