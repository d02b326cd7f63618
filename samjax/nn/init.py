"""Initialisers, and parameters with logical axes."""

from flax import nnx
from jax.nn.initializers import Initializer

VIT_INIT = nnx.initializers.truncated_normal(0.02)

# Uniform of variance 1/fan_in: the image and the prompts attend to each other from the first steps. With a third of it,
# the default of the framework the release was written in, the first plateau takes a third longer (`tiny`, demo photos).
DECODER_INIT = nnx.initializers.variance_scaling(1.0, "fan_in", "uniform")


# MAE's. A patch embedding's kernel [patch, patch, in, out] counts as the matrix it is, not as a convolution.
XAVIER = nnx.initializers.xavier_uniform()
XAVIER_PATCH = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=(0, 1, 2), out_axis=3)


# A dense head's last layer, as mmsegmentation has it: logits begin near zero.
CLASSIFIER_INIT = nnx.initializers.normal(0.01)


class Buffer(nnx.Variable):
    """Saved with the model, never trained or decayed."""


class Statistic(Buffer):
    """A buffer to which the model assigns while it computes a training loss, float32: the step keeps what it assigned.

    Not inside `jax.lax.scan` or `jax.checkpoint`, from which no assignment comes back.
    """


def parameter(init: Initializer, shape: tuple[int, ...], *, axes: tuple[str | None, ...], rngs: nnx.Rngs) -> nnx.Param:
    """Return a float32 parameter that carries the logical name of each of its axes (see `parallel.rules`)."""
    if len(axes) != len(shape):
        raise ValueError(f"a parameter of shape {shape} needs {len(shape)} axis names, got {axes}")
    return nnx.Param(init(rngs.params(), shape), axes=axes)
