"""Models for tests: born in one compiled program, once a config."""

import functools

import jax
import pytest
from flax import nnx

from samjax.models.sam.config import SamConfig
from samjax.models.sam.sam import Sam


@functools.cache
def _initialised(config: SamConfig) -> tuple[nnx.GraphDef[Sam], nnx.State]:
    return nnx.split(jax.jit(lambda: Sam(config, rngs=nnx.Rngs(0)))())


@pytest.fixture(scope="session")
def initialised():
    """`initialised(config)` returns a model of its own, with the weights of seed 0."""
    return lambda config: nnx.merge(*_initialised(config))


@pytest.fixture(scope="session")
def quickly():
    """Compiler options that leave out LLVM's optimisations, which take longer than a test runs."""
    return {"xla_backend_optimization_level": 0}
