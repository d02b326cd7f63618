"""Layer-wise learning rates: the nearer to the input, the slower (BEiT; ViTDet).

Which parameter is in which layer is the model's to say, as patterns: nothing here knows a model.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from samjax.core.tree import LayerIds, first_match, map_with_names
from samjax.optim.rates import Multipliers


def layer_ids(patterns: LayerIds, parameters: Any) -> Any:
    """Return each parameter's layer id, an int array that broadcasts against it.

    Raises:
      KeyError: no pattern matches a parameter.
      ValueError: a stack of ids has another shape than the leading axes of a parameter that it is for.
    """

    def layer_id(name: str, parameter: Any) -> jax.Array:
        ids = np.asarray(first_match(name, patterns))
        if ids.shape != tuple(parameter.shape[: ids.ndim]):
            raise ValueError(f"layer ids of shape {ids.shape} for {name}, whose shape is {tuple(parameter.shape)}")
        if not ids.ndim:
            return jnp.array(ids)
        # Folded as a constant, the power of a stack would round otherwise than in runs of earlier versions.
        stacked = jax.lax.optimization_barrier(jnp.array(ids))
        return stacked.reshape(*ids.shape, *(1,) * (parameter.ndim - ids.ndim))

    return map_with_names(layer_id, parameters)


def scale_by_layer(rate: float, patterns: LayerIds, *, multipliers: Multipliers = ()) -> optax.GradientTransformation:
    """Multiply each update by rate^(last id - id), weight decay included: a learning rate a layer.

    On top of it the first pattern of `multipliers` that matches a parameter multiplies its update.
    """
    last = max((int(np.max(ids)) for _, ids in patterns), default=0)

    def update(updates, state, params=None):
        del params
        if patterns:
            scale = lambda update, ids: update * (rate ** (last - ids)).astype(update.dtype)  # noqa: E731
            updates = jax.tree.map(scale, updates, layer_ids(patterns, updates))
        if multipliers:
            by_name = (*multipliers, ("*", 1.0))
            updates = map_with_names(lambda name, update: update * first_match(name, by_name), updates)
        return updates, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
