"""Floating-point operations of what a function traces: for models whose configuration has no closed form of them.

A multiply-add is two. Matrix products and convolutions alone, as in `models.sam.flops`; a depthwise convolution is as
good as elementwise, and left out.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def traced_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """Return the FLOPs of `function`; nothing is computed, and the arguments may be shapes.

    Loops count as often as they run, and of a conditional the branch that has most.

    Raises:
      ValueError: it has a loop of unknown length with products in it.
    """
    return _of_program(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of_program(jaxpr: Any) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2 * equation.outvars[0].aval.size * int(np.prod([left[axis] for axis in contracted]))
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    inside = [_of_program(program) for value in parameters.values() for program in _programs(value)]
    if name == "cond":
        return max(inside)
    if name == "while" and any(inside):
        raise ValueError("a while loop has products, and does not say how often it runs")
    return parameters["length"] * sum(inside) if name == "scan" else sum(inside)


def _of_convolution(equation: Any) -> int:
    kernel, groups = equation.invars[1].aval, equation.params["feature_group_count"]
    outputs = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    inputs = kernel.size // outputs
    return 0 if groups == outputs else 2 * equation.outvars[0].aval.size * inputs


def _programs(parameter: Any) -> list[Any]:
    """Return the programs that a call carries in one of its parameters, closed over constants or, of remat, not."""
    parts = parameter if isinstance(parameter, tuple) else (parameter,)
    return [inside for inside in (getattr(part, "jaxpr", part) for part in parts) if hasattr(inside, "eqns")]
