"""Matching on the device against scipy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from samjax.losses.assignment import match


@pytest.mark.parametrize(("problems", "queries", "targets"), [(900, 12, 6), (100, 40, 25)])
def test_costs_are_the_least_there_are(problems, queries, targets):
    """Of a thousand problems, with targets that are none in some; half of them have ties."""
    draw = np.random.default_rng(0)
    costs = draw.normal(size=(problems, queries, targets)).astype(np.float32)
    costs[::2] = np.round(costs[::2])
    valid = draw.uniform(size=(problems, targets)) < 0.7
    found = np.asarray(jax.jit(match)(jnp.asarray(costs), jnp.asarray(valid)))
    for cost, there, chosen in zip(costs, valid, found, strict=True):
        assert len(set(chosen[there])) == there.sum()
        own = cost[chosen[there], np.flatnonzero(there)].sum()
        rows, columns = linear_sum_assignment(cost[:, there])
        assert own == pytest.approx(cost[:, there][rows, columns].sum(), abs=1e-4)


def test_costs_that_are_no_numbers_are_avoided():
    costs = jnp.array([[[jnp.nan, 1.0], [0.5, jnp.inf], [jnp.nan, 2.0]]])
    np.testing.assert_array_equal(match(costs, jnp.ones((1, 2), bool)), [[1, 0]])


def test_more_targets_than_predictions_are_refused():
    with pytest.raises(ValueError, match="3 targets cannot be matched to 2"):
        match(jnp.zeros((1, 2, 3)), jnp.ones((1, 3), bool))
