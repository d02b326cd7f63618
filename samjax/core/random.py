"""Randomness is derived, never carried: a key is a function of (seed, stream, step)."""

import enum

import jax
from jaxtyping import Array, Int, Key


class Stream(enum.IntEnum):
    """Independent uses of a run's seed. The numbers determine a run's randomness: append, never renumber."""

    INIT = 0
    MODEL = 1
    TASK = 2
    """What a task draws: prompts, hidden patches."""
    VALIDATION = 3


def derive(run: Key[Array, ""], stream: Stream, step: int | Int[Array, ""] = 0) -> Key[Array, ""]:
    """Return the key that `stream` uses at `step` of the run whose key, `jax.random.key(seed)`, is `run`."""
    return jax.random.fold_in(jax.random.fold_in(run, int(stream)), step)
