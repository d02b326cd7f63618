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
