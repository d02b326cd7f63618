"""Layer-wise learning rate decay that knows of stacked blocks (BEiT; ViTDet's numbering)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from samjax.core.tree import map_named


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Where the blocks of a stacked encoder sit in its depth.

    Parameters under `prefix` carry leading axes: `windowed` [groups, global_every - 1], `full` [groups].
    """

    prefix: str = "image_encoder"
    groups: int
    global_every: int

    @property
    def blocks(self) -> int:
        """Blocks in all, L."""
        return self.groups * self.global_every


def layer_ids(depth: Depth, parameters: Any) -> Any:
    """Return each parameter's layer id, an int array that broadcasts against it.

    Patch and position embedding 0, block i i + 1, everything else (neck, prompt encoder, decoder) L + 1.
    """
    blocks = jnp.arange(depth.blocks).reshape(depth.groups, depth.global_every) + 1

    def layer_id(name: str, parameter: Any) -> jax.Array:
        if name.startswith((f"{depth.prefix}/patch_embed", f"{depth.prefix}/position")):
            return jnp.array(0)
        if name.startswith(f"{depth.prefix}/groups/windowed/"):
            return blocks[:, :-1].reshape(depth.groups, depth.global_every - 1, *(1,) * (parameter.ndim - 2))
        if name.startswith(f"{depth.prefix}/groups/full/"):
            return blocks[:, -1].reshape(depth.groups, *(1,) * (parameter.ndim - 1))
        return jnp.array(depth.blocks + 1)

    return map_named(layer_id, parameters)


def scale_by_layer(rate: float, depth: Depth) -> optax.GradientTransformation:
    """Multiply each update by rate^(L + 1 - id), weight decay included: a learning rate a layer."""

    def update(updates, state, params=None):
        del params
        scale = lambda update, ids: update * (rate ** (depth.blocks + 1 - ids)).astype(update.dtype)  # noqa: E731
        return jax.tree.map(scale, updates, layer_ids(depth, updates)), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
