"""Which prediction each target is matched to: the assignment of least cost (Kuhn 1955), on the device."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float32, Int32


def match(costs: Float32[Array, "b q t"], valid: Bool[Array, "b t"]) -> Int32[Array, "b t"]:
    """Return each target's prediction, different ones within a photo; those of targets that are not valid mean nothing.

    Costs that are no numbers count as the largest there is. No gradient flows through the choice.

    Args:
      costs: of each prediction for each target; no photo has more targets than predictions.
      valid: which targets there are.
    """
    queries, targets = costs.shape[1:]
    if targets > queries:
        raise ValueError(f"{targets} targets cannot be matched to {queries} predictions")
    finite = jnp.nan_to_num(jax.lax.stop_gradient(costs), nan=1e9, posinf=1e9, neginf=-1e9)
    # Targets that are none cost the same everywhere, so the others are matched as if they were not there.
    costs_of_all = jnp.where(valid[:, None], finite, 0.0)

    def of_photo(costs: Float32[Array, "q t"]) -> Int32[Array, "t"]:
        rows, columns = optax.assignment.hungarian_algorithm(costs.T)
        return jnp.zeros(targets, jnp.int32).at[rows].set(columns.astype(jnp.int32))

    return jax.vmap(of_photo)(costs_of_all)
