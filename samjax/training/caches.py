"""The interface between the loop and what a task computes once and reads its batches from."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jax.sharding import Mesh


@runtime_checkable
class Caches(Protocol):
    """What the batches of a run are read from, made with its first state.

    `state` has `params` and `buffers`, of which `merge` makes a model.
    """

    def check(self, state: Any) -> None:
        """Refuse what `fill` would refuse, and compute nothing.

        Raises:
          UserError: a cache cannot be used, or belongs to something else.
        """
        ...

    def fill(
        self,
        merge: Callable[[Any, Any], Any],
        state: Any,
        mesh: Mesh,
        *,
        say: Callable[[str], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        """Compute what is not there yet. The loop calls it at every start, on every process, before it reads a batch.

        Args:
          merge: makes a model from parameters and buffers.
          state: what the run starts with.
          mesh: the devices of the run.
          say: takes lines for the user.
          is_stopping: whether a signal has come; then a run of one process returns early.

        Raises:
          UserError: see `check`.
        """
        ...
