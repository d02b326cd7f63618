"""The interface between the loop and a task's validation: metrics and pictures."""

import enum
from collections.abc import Callable
from typing import Any

from samjax.training.trackers import Row

Validator = Callable[[Any, int], tuple[Row, dict[str, Any]]]
"""Takes the state, with `params` and `buffers`, and its step; returns a row of metrics, and pictures by name."""


class Better(enum.Enum):
    """Which way a metric improves."""

    HIGHER = "risen above"
    LOWER = "fallen below"

    @property
    def verb(self) -> str:
        """What an improved metric has done, in words."""
        return self.value

    @property
    def worst(self) -> float:
        """A value that every other one improves on."""
        return float("-inf") if self is Better.HIGHER else float("inf")

    def than(self, one: float, other: float) -> bool:
        """Return whether `one` is better than `other`; NaN never is."""
        return one > other if self is Better.HIGHER else one < other
