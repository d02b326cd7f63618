"""Randomness is derived, never carried: a key is a function of (seed, stream, step)."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, Shaped


class Stream(enum.IntEnum):
    """Independent uses of a run's seed. The numbers determine a run's randomness: append, never renumber."""

    INIT = 0
    MODEL = 1
    TASK = 2
    """What a task draws: prompts, hidden patches."""
    VALIDATION = 3
    ADAPTERS = 4


def derive(run: Key[Array, ""], stream: Stream, step: int | Int[Array, ""] = 0) -> Key[Array, ""]:
    """Return the key that `stream` uses at `step` of the run whose key, `jax.random.key(seed)`, is `run`."""
    return jax.random.fold_in(jax.random.fold_in(run, int(stream)), step)


def split_each(keys: Key[Array, "*n"], count: int) -> Key[Array, "*n count"]:
    """Split each of `keys` into `count`, along a new last axis. All at once: on a TPU each split of a lone key executes
    a hundred scalar instructions."""
    return jax.vmap(lambda key: jax.random.split(key, count))(keys.reshape(-1)).reshape(*keys.shape, count)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Rows:
    """Which rows of a whole batch a part of it holds, so that the part draws what the whole batch would."""

    indices: Int[Array, "b"] | None = None
    """None means that it holds all, in their order."""
    whole: int = field(metadata={"static": True})
    """Rows of the whole batch."""
    present: Bool[Array, "b"] | None = None
    """Which of these rows hold a sample: others count for no statistic of the batch. None means that all do."""

    @classmethod
    def every(cls, present: Bool[Array, "b"]) -> "Rows":
        """Return all rows of a batch, some of which may hold no sample."""
        return cls(whole=len(present), present=present)


def draw_rows(
    draw: Callable[[int], Shaped[Array, "photos *n"]], photos: int, rows: Rows | None
) -> Shaped[Array, "photos *n"]:
    """Return what `draw` draws for so many photos; of a part of a batch, its `rows` of the whole batch's draw."""
    return draw(photos) if rows is None or rows.indices is None else draw(rows.whole)[rows.indices]


def keys_of_masks(
    key: Key[Array, ""], photos: int, masks: int, *, rows: Rows | None = None
) -> Key[Array, "photos masks"]:
    """Return a key for each of `masks` slots in each of `photos`, a function of `key`, photo and slot alone.

    `rows` says which photos they are in the whole batch; None means that these are all.
    """

    def of_photo(photo: Int[Array, ""]) -> Key[Array, "masks"]:
        return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.fold_in(key, photo), jnp.arange(masks))

    return jax.vmap(of_photo)(jnp.arange(photos) if rows is None or rows.indices is None else rows.indices)
