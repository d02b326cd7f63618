"""FLOPs of the matrix products a function traces; nothing is computed."""

import jax
import numpy as np


def products(function, *arguments) -> int:
    """Return the FLOPs of all `dot_general` of `function`; a multiply-add is two."""
    return _products(jax.make_jaxpr(function)(*arguments).jaxpr)


def _products(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * int(np.prod([left[axis] for axis in contracted]))
        total += sum(_products(inside) for value in equation.params.values() for inside in _traced(value))
    return total


def _traced(parameter) -> list:
    """Return the program that a call carries as one of its parameters, closed over constants or, of remat, not."""
    return [inside for inside in (getattr(parameter, "jaxpr", parameter),) if hasattr(inside, "eqns")]
