"""Keys of initial values: flax's, without what flax asks of tracers."""

import jax
import numpy as np
from flax import nnx
from helpers.micro import micro_model

from samjax.nn.rngs import initial_rngs


def _drawn(make) -> np.ndarray:
    """Return five keys in a row, of a stream by name and of the default one by turns."""
    rngs = make(jax.random.key(3))
    return np.stack([jax.random.key_data(rngs.params() if draw % 2 else rngs()) for draw in range(5)])


def test_keys_are_those_of_flax():
    np.testing.assert_array_equal(_drawn(initial_rngs), _drawn(nnx.Rngs))
    assert jax.random.key_data(initial_rngs(7).params()).tolist() == jax.random.key_data(nnx.Rngs(7).params()).tolist()


def test_a_traced_model_asks_no_tracer_for_its_sharding(monkeypatch):
    """JAX's refusal goes through all that was traced before."""
    asked = []
    monkeypatch.setattr(jax.core.Tracer, "sharding", property(asked.append))
    nnx.eval_shape(lambda: micro_model().make(rngs=initial_rngs(0)))
    assert not asked
    nnx.eval_shape(lambda: nnx.Linear(2, 2, rngs=nnx.Rngs(0)).kernel[...].sharding)
    assert asked, "the property is that of tracers"
