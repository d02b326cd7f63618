"""Encoder and decoder as ONNX models."""

from pathlib import Path

import jax
import numpy as np

from samjax.interop.onnx_graph import Graph
from samjax.interop.onnx_translation import translate
from samjax.interop.portable import Half


def write_onnx(half: Half, path: Path) -> None:
    """Write a half of the model to `path`, with dynamic axes as its symbols say, and its weights to `path`.data.

    Raises:
      UserError: the package onnx is not installed.
    """
    graph = Graph(half.inputs)
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
    graph.save(path, outputs=outputs, what=half.name)
