"""Which checkpoints of a run are kept."""

from collections.abc import Sequence
from typing import Any


class Preservation:
    """Orbax's preservation policy: the newest checkpoints, and one other."""

    def __init__(self, newest: int):
        self._newest = newest
        self.other: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return which of these, ascending by step, stay."""
        del context
        old = len(checkpoints) - self._newest
        return [place >= old or one.step == self.other for place, one in enumerate(checkpoints)]
