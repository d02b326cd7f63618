"""Random arrays and modules for the tests of layers."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def perturbed(module: nnx.Module) -> nnx.Module:
    """Return the module with noise on every parameter: biases and tables start at zero."""
    graph, params = nnx.split(module)
    leaves, structure = jax.tree.flatten(nnx.to_pure_dict(params))
    leaves = [leaf + 0.3 * normal(*leaf.shape, seed=index) for index, leaf in enumerate(leaves)]
    return nnx.merge(graph, jax.tree.unflatten(structure, leaves))


def equations(jaxpr):
    """Yield the equations of a traced function, of the functions it calls and of its loops' bodies."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "jaxpr")):
            if hasattr(value, "jaxpr"):
                yield from equations(value.jaxpr)
