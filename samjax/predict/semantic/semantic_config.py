"""How photos are shown to a dense prediction model, and its answers combined."""

import enum
from typing import Annotated

from samjax.core.errors import UserError
from samjax.core.ranges import Pixels, Range, config_class

SCALE = Range(above=0, below=16, why="a photo's size is multiplied by it")
_Scale = Annotated[float, SCALE]


class Windows(enum.Enum):
    """What of a photo the model sees at a time."""

    WHOLE = "whole"
    """All of it: for models without tables of positions, such as SegFormer."""
    SLIDING = "sliding"
    """Windows of the model's frame, whose logits are averaged where they overlap."""


@config_class("")
class SemanticPredictionConfig:
    """How a photo is classified. The defaults are mmsegmentation's: one scale, not mirrored."""

    windows: Windows | None = None
    """WHOLE or SLIDING; None takes WHOLE where the model takes photos of any size."""
    stride: Pixels | None = None
    """Pixels from one sliding window to the next; None is two thirds of the window's side."""
    fit: tuple[Pixels, Pixels] | None = None
    """Longest and shortest side that a photo is scaled to fit; None scales its shortest side to the model's frame, and
    its longest to at most four times that."""
    scales: tuple[_Scale, ...] = (1.0,)
    """Factors of the fitted photo's size; probabilities are averaged over all."""
    flip: bool = False
    """Whether the mirrored photo is classified too, at each scale."""

    def __post_init__(self):
        if not self.scales:
            raise UserError("scales is empty: give one or several factors, such as 1")
        if self.fit is not None and self.fit[0] < self.fit[1]:
            raise UserError(f"fit is {self.fit}; give the longest side before the shortest")
