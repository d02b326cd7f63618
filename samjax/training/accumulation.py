"""A step's gradient from parts of its batch, one after another: the memory of a part, the result of the whole.

The task's loss is a mean over something that parts have different numbers of, such as valid masks. So a part's loss
weighs by its share of them (`TrainConfig.weight`), and each row draws the random numbers that it would draw in the
whole batch (`core.random.Rows`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Shaped

from samjax.core.errors import UserError
from samjax.core.random import Rows
from samjax.parallel.sharding import constrain, shards
from samjax.training.config import Metrics, StepKeys, TrainConfig

Objective = Callable[[Any, Any, StepKeys], tuple[Float[Array, ""], tuple[Metrics, Any]]]
"""The loss, the metrics and the statistics: of variables, a batch or a part of one, and the keys of the step."""


def check_parts(config: TrainConfig, mesh: Mesh) -> None:
    """Refuse a batch that cannot be split into `config.accumulate` equal parts on each device.

    Raises:
      UserError: it cannot.
    """
    ways = mesh.shape["data"] * mesh.shape["fsdp"]
    if config.batch_size % (ways * config.accumulate):
        of = f"each of the {ways} parts that the mesh splits it into" if ways > 1 else "it"
        raise UserError(
            f"accumulate is {config.accumulate}, but batch_size is {config.batch_size}, and {of} must divide by "
            f"{config.accumulate}: give a batch_size that is a multiple of {ways * config.accumulate}, or another "
            "accumulate"
        )


def split_batch(array: Shaped[Array, "b *shape"], parts: int) -> Shaped[Array, "parts n *shape"]:
    """Split a batch into parts of which each device holds as much as of the others: nothing moves between devices."""
    ways = shards("batch")
    split = array.reshape(ways, parts, -1, *array.shape[1:])
    split = jnp.swapaxes(split, 0, 1).reshape(parts, -1, *array.shape[1:])
    return constrain(split, None, "batch", *(None,) * (array.ndim - 1))


def gradient_in_parts(
    objective: Objective, variables: Any, batch: Any, keys: StepKeys, *, config: TrainConfig, shardings: Any
) -> tuple[tuple[Metrics, Any], Any]:
    """Return the metrics and statistics of a batch and the gradient of its loss, for `config.accumulate` parts in turn.

    Metrics are averaged as the loss is, statistics over the parts: each is normalised with its own. `shardings` are
    those of the gradients, which are added up in float32.
    """
    parts, photos = config.accumulate, len(jax.tree.leaves(batch)[0])
    rows = split_batch(jnp.arange(photos), parts)
    split = jax.tree.map(lambda array: split_batch(array, parts), batch)
    whole = jnp.maximum(config.weight(batch), 1)

    def weigh(variables: Any, part: Any, indices: Any) -> tuple[Float[Array, ""], tuple[Metrics, Any]]:
        loss, (metrics, statistics) = objective(
            variables, part, dataclasses.replace(keys, rows=Rows(indices=indices, whole=photos))
        )
        share = config.weight(part) / whole
        means = jax.tree.map(lambda value: value / parts, statistics)
        return share * loss, (jax.tree.map(lambda value: share * value, metrics), means)

    def add(sums: tuple[Any, Any], part: tuple[Any, Any]) -> tuple[tuple[Any, Any], None]:
        (_, logged), gradients = jax.value_and_grad(weigh, has_aux=True)(variables, *part)
        added = jax.tree.map(jnp.add, sums, (logged, gradients))
        return (added[0], jax.lax.with_sharding_constraint(added[1], shardings)), None

    first = jax.tree.map(lambda array: array[0], (split, rows))
    logged = jax.eval_shape(weigh, variables, *first)[1]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (logged, variables))
    zeros = (zeros[0], jax.lax.with_sharding_constraint(zeros[1], shardings))
    return jax.lax.scan(add, zeros, (split, rows))[0]
