"""What a validation is to the loop: numbers and pictures; the loop knows no evaluation."""

import enum
from collections.abc import Callable
from typing import Any

from samjax.train.trackers import Row

Validator = Callable[[Any, int], tuple[Row, dict[str, Any]]]
"""Takes the state, with `params` and `buffers`, and its step; returns a row of metrics and pictures by name."""


class Better(enum.Enum):
    """Which way a figure improves."""

    HIGHER = "risen above"
    LOWER = "fallen below"

    @property
    def verb(self) -> str:
        """What the figure has done when it has improved, in words."""
        return self.value

    @property
    def worst(self) -> float:
        """What every figure is better than."""
        return float("-inf") if self is Better.HIGHER else float("inf")

    def than(self, one: float, other: float) -> bool:
        """Return whether `one` is better than `other`; a figure that is not a number never is."""
        return one > other if self is Better.HIGHER else one < other
