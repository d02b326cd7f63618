"""Sizes of Mask2Former's decoders."""

from typing import ClassVar

from samjax.core.errors import UserError
from samjax.core.ranges import Count, config_class
from samjax.models.multiples import check_multiples

GROUPS = 32
"""Groups of channels that a norm of a map takes together."""
LEVELS = 3
"""Maps that the decoders attend to: all but the finest."""
EPSILON = 1e-5
"""Added to the variance in every norm."""


@config_class("model.decoder")
class Mask2FormerSizes:
    """Of the pixel decoder and the transformer decoder (Cheng et al. 2022). The defaults are the published ones."""

    MAPS: ClassVar[int] = LEVELS + 1

    width: Count = 256
    """Channels of every map, a multiple of 32, and of queries."""
    heads: Count = 8
    """Attention heads."""
    points: Count = 4
    """Points of a map that a head of the pixel decoder reads."""
    pixel_layers: Count = 6
    """Layers of the pixel decoder."""
    pixel_hidden: Count = 1024
    """Hidden units of their MLPs."""
    layers: Count = 9
    """Layers of the transformer decoder, a multiple of 3: each attends to one map, the coarsest first."""
    hidden: Count = 2048
    """Hidden units of their MLPs."""
    queries: Count = 100
    """How many segments it can find in a photo."""

    def __post_init__(self):
        check_multiples(
            ("model.decoder.width", self.width, GROUPS),
            ("model.decoder.width", self.width, self.heads),
        )
        if self.layers % LEVELS:
            raise UserError(f"model.decoder.layers is {self.layers}; expected a multiple of {LEVELS}, one for each map")
