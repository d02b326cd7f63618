"""Keys for the initial values of a module's arrays: flax's `nnx.Rngs`, at a cost that does not grow with the module."""

import jax
from flax import nnx


def initial_rngs(key: jax.Array | int) -> nnx.Rngs:
    """Return the keys that `nnx.Rngs(key)` gives, bit for bit.

    Made inside a traced function, flax's own stream asks a tracer for its sharding at each key. The refusal is an error
    message that JAX writes by going through all that was traced before and printing it: the time to trace a module
    grows with the square of its parameters, 5 s of 7 for SAM's smallest model.
    """
    rngs = nnx.Rngs(key)
    rngs.default = _Stream(rngs.default.key.get_value(), tag="default")  # type: ignore[attr-defined]
    return rngs


class _Stream(nnx.RngStream):
    """A stream that replaces its count instead of writing into it, for which nothing is asked of the array."""

    def __call__(self) -> jax.Array:
        count = self.count.get_value()
        self.count.set_value(count + 1)
        return jax.random.fold_in(self.key.get_value(), count)
