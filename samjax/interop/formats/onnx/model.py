"""Encoder and decoder as ONNX models."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np

from samjax.core.errors import UserError
from samjax.interop.formats.onnx.graph import Graph
from samjax.interop.formats.onnx.translation import translate
from samjax.interop.formats.portable import Half

_MOST_BYTES = 2**31 - 2**26
"""Of weights in one file: a protocol buffer ends at 2 GiB."""


@dataclass(frozen=True, kw_only=True)
class OnnxOptions:
    """How models are laid out."""

    FLAGS: ClassVar[str] = "--single-file and --photo-masks are for --format onnx"

    single_file: bool = False
    """Weights are in the .onnx itself, not in .onnx.data beside it."""
    photo_masks: bool = False
    """The decoder also brings its masks to the size of the photo."""


def write_onnx(
    half: Half, path: Path, *, single_file: bool = False, photo_frame: tuple[int, int] | None = None
) -> None:
    """Write a half of the model to `path`, with dynamic axes as its symbols say, and its weights to `path`.data.

    Args:
      half: the encoder or the decoder.
      path: the file to write.
      single_file: weights are in `path` too.
      photo_frame: the model's frame, (height, width) in pixels, for a decoder that also brings its masks to the photo's
        size: it takes `valid_size` and `photo_size`, (height, width) each, and gives `masks`.

    Raises:
      UserError: the package onnx is not installed, or the weights are too large for a single file.
    """
    size = sum(array.nbytes for array in half.weights.values())
    if single_file and size > _MOST_BYTES:
        raise UserError(
            f"the {half.name} has {size / 1e9:.1f} GB of weights, and a single ONNX file holds 2 GB: leave out "
            "--single-file"
        )
    sizes = {name: jax.ShapeDtypeStruct((2,), np.int32) for name in ("valid_size", "photo_size") if photo_frame}
    graph = Graph({**half.inputs, **sizes})
    names = sorted(half.weights)  # the order that JAX gives a dictionary's leaves
    weights = {name: jax.ShapeDtypeStruct(half.weights[name].shape, np.float32) for name in names}
    with jax.default_device(jax.local_devices(backend="cpu")[0]):  # whose products are float32's
        traced = jax.jit(lambda weights, *inputs: half.of_weights(weights)(*inputs)).trace(
            weights, *half.inputs.values()
        )
        values = translate(
            traced.jaxpr.jaxpr,
            traced.jaxpr.consts,
            [*(half.weights[name] for name in names), *half.inputs],
            graph,
        )
    likes = traced.jaxpr.out_avals
    outputs = {name: (value, like) for name, value, like in zip(half.outputs, values, likes, strict=True)}
    if photo_frame:
        logits, like = outputs["logits"]
        shape = (*like.shape[:3], *jax.export.symbolic_shape("photo_h, photo_w"))
        masks = _at_photo_size(graph, str(logits), low=like.shape[2:], frame=photo_frame)
        outputs["masks"] = (masks, jax.ShapeDtypeStruct(shape, np.float32))
    graph.save(path, outputs=outputs, what=half.name, single_file=single_file)


def _at_photo_size(graph: Graph, logits: str, *, low: tuple[int, ...], frame: tuple[int, int]) -> str:
    """Append the published two bilinear steps: to the frame, and of the photo's part of it to the photo's size."""

    def resize(value: str, size: str | np.ndarray) -> str:
        return graph.add("Resize", value, "", "", size, mode="linear", axes=[2, 3])

    def dims(name: str) -> str:
        return graph.add("Cast", name, to=7)  # int64

    flat = graph.add("Reshape", logits, np.array([-1, *low], np.int64))
    whole = resize(flat, np.array(frame, np.int64))
    origin, axes = np.zeros(2, np.int64), np.array([2, 3], np.int64)
    part = graph.add("Slice", whole, origin, dims("valid_size"), axes)
    masks = resize(part, dims("photo_size"))
    leading = graph.add("Shape", logits, start=0, end=3)
    return graph.add("Reshape", masks, graph.add("Concat", leading, dims("photo_size"), axis=0))
