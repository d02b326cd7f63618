"""How many masks to decode at once, and whether to compute rounds again: what is fastest where.

Small groups move little through main memory, and execute many instructions. `samjax plan --compare masks-at-once=N`
shows both for TPUs; docs/benchmarks.md has the measurements.
"""

from dataclasses import dataclass

from samjax.models.sam.sam import SamConfig

_CELLS_ON_CPU = 4 * 32 * 32
"""Cells of the image that a group's masks have together on a CPU: four masks of `small` at 512 pixels."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How a device plays the masks of its photos."""

    masks_at_once: int
    """Masks that are decoded together."""
    recompute_rounds: bool
    """Whether the backward pass decodes each round again, instead of keeping its activations."""


def best_grouping(model: SamConfig, platform: str) -> Grouping:
    """Return the fastest grouping of a platform.

    On accelerators what a round keeps goes through main memory, and is computed again in less time. On a CPU both take
    as long.
    """
    if platform == "cpu":
        cells = model.grid[0] * model.grid[1]
        return Grouping(masks_at_once=max(1, _CELLS_ON_CPU // cells), recompute_rounds=False)
    return Grouping(masks_at_once=16, recompute_rounds=True)
