"""Batch normalisation whose statistics are of the global batch, as PyTorch's SyncBatchNorm computes it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.random import Rows
from samjax.nn.init import Statistic, parameter

Training = bool | Rows
"""False, or True: the batch's own statistics; or a batch's rows, of which those alone count that hold a sample."""


def in_training(key: Key[Array, ""] | None, rows: Rows | None) -> Training:
    """Return what the batch norms of a module are told that is called with a `key` in training, and perhaps `rows`."""
    if key is None:
        return False
    return True if rows is None else rows


class BatchNorm(nnx.Module):
    """Normalises each channel with the batch's mean and variance in training, with running ones otherwise.

    Running values keep 0.9 of themselves at each step, and of the variance the unbiased estimate, as in PyTorch; the
    training step saves them. Under jit the batch is the global one, however it is split.
    """

    def __init__(self, width: int, *, epsilon: float = 1e-5, momentum: float = 0.1, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.epsilon, self.momentum, self.dtype = epsilon, momentum, dtype
        self.scale = parameter(nnx.initializers.ones, (width,), axes=(None,), rngs=rngs)
        self.bias = parameter(nnx.initializers.zeros, (width,), axes=(None,), rngs=rngs)
        self.mean = Statistic(jnp.zeros(width), axes=(None,))
        self.variance = Statistic(jnp.ones(width), axes=(None,))

    def __call__(self, x: Float[Array, "b *n c"], *, training: Training) -> Float[Array, "b *n c"]:
        """Normalise over all axes but the last; statistics in float32."""
        mean, variance = self.mean[...], self.variance[...]
        if training:
            values, axes = x.astype(jnp.float32), tuple(range(x.ndim - 1))
            inside, count = None, jnp.float32(x.size // x.shape[-1])
            if isinstance(training, Rows) and training.present is not None:
                inside = training.present.reshape(-1, *(1,) * (x.ndim - 1))
                count = training.present.sum() * jnp.float32(x.size // x.shape[-1] // len(x))
            mean = values.mean(axes, where=inside)
            variance = jnp.square(values - mean).mean(axes, where=inside)
            self._remember(mean, variance * (count / jnp.maximum(count - 1, 1)))
        factor = self.scale[...] * jax.lax.rsqrt(variance + self.epsilon)
        return ((x - mean) * factor + self.bias[...]).astype(self.dtype)

    def _remember(self, mean: Float[Array, "c"], variance: Float[Array, "c"]) -> None:
        for kept, value in ((self.mean, mean), (self.variance, variance)):
            updated = (1 - self.momentum) * kept[...] + self.momentum * jax.lax.stop_gradient(value)
            kept.set_value(updated)  # by `[...]` flax takes 20 ms in a long program: it looks for a tracer's sharding
