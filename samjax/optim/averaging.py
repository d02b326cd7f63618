"""An exponential moving average of what a run trains (Polyak & Juditsky 1992)."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from samjax.core.ranges import Range

AverageDecay = Annotated[float, Range(at_least=0, below=1, why="an average keeps this share of itself at each step")]


def moving_average(average: Any, part: Any, *, decay: float, step: Int[Array, ""]) -> Any:
    """Return the average after step number `step`, from 0, which has made `part`.

    In the first steps it keeps less of itself, at most (1 + step) / (10 + step), so that initial weights fade.
    """
    share = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: (old + (1.0 - share) * (new - old)).astype(old.dtype), average, part)
