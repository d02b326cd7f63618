"""Muon (Jordan et al. 2024): a kernel's direction is its momentum with all singular values brought to about 1.

An update's root mean square is made 0.2, which is near Adam's (Liu et al. 2025), so that one learning rate and one
weight decay serve the kernels and the parameters that stay with Adam.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from samjax.core.tree import find_among, map_with_names

RMS = 0.2

Matrices = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
"""The axes of inputs and those of outputs, by the path of each kernel that Muon updates; others count its matrices."""


def muon_matrices(
    patterns: Sequence[str], shapes: Mapping[str, jax.ShapeDtypeStruct], kernels: Mapping[str, tuple[int, int]]
) -> Matrices:
    """Return the kernels that `patterns` match among the trainable parameters `shapes`.

    Args:
      kernels: those of dense layers, and how many axes the inputs and the outputs of each have. Where outputs have
        three axes, several projections share a kernel, and each of them is a matrix.

    Raises:
      UserError: a pattern matches no trainable parameter, or no kernel of a dense layer.
    """
    found = find_among(patterns, shapes, kernels, what="kernel of a dense layer", option="optim.muon")
    return {name: _axes(len(shapes[name].shape), *kernels[name]) for name in found}


def _axes(rank: int, inputs: int, outputs: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes of a matrix's inputs and outputs in a kernel of `rank` axes."""
    first = rank - min(outputs, 2)
    return tuple(range(rank - outputs - inputs, rank - outputs)), tuple(range(first, rank))


def scale_matrices_by_muon(matrices: Matrices) -> optax.GradientTransformation:
    """Return Muon's direction for a tree whose leaves are among `matrices`, of root mean square `RMS`."""

    def dimensions(updates: Any) -> Any:
        def one(name: str, _: Any) -> MuonDimensionNumbers:
            inputs, outputs = matrices[name]
            return MuonDimensionNumbers(reduction_axis=inputs, output_axis=outputs)

        return map_with_names(one, updates)

    def rescale(updates: Any, _: Any) -> Any:
        def one(name: str, update: jax.Array) -> jax.Array:
            return update * (RMS * math.sqrt(_longer(update, *matrices[name])))

        return map_with_names(one, updates)

    return optax.chain(scale_by_muon(weight_dimension_numbers=dimensions), optax.stateless(rescale))


def _longer(update: jax.Array, *sides: tuple[int, ...]) -> int:
    """Return the longer side of a kernel's matrices: the mean square of an orthogonal one is its inverse."""
    return max(math.prod(update.shape[axis] for axis in side) for side in sides)
