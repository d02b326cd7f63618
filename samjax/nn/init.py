"""Initialisers, and the modules' parameters with their logical axes."""

from flax import nnx
from jax.nn.initializers import Initializer

VIT_INIT = nnx.initializers.truncated_normal(0.02)

# U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what the released decoder starts from (its framework's default).
TORCH_INIT = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Buffer(nnx.Variable):
    """Saved with the model, never trained or decayed."""


def parameter(init: Initializer, shape: tuple[int, ...], *, axes: tuple[str | None, ...], rngs: nnx.Rngs) -> nnx.Param:
    """Return a float32 parameter that carries the logical name of each of its axes (see `parallel.rules`)."""
    if len(axes) != len(shape):
        raise ValueError(f"a parameter of shape {shape} needs {len(shape)} axis names, got {axes}")
    return nnx.Param(init(rngs.params(), shape), axes=axes)
