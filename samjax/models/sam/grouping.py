"""How many masks to decode at once, and whether training computes rounds again: what is fastest where.

Small groups move little through main memory, and execute many instructions. `samjax plan --compare masks-at-once=N`
shows both for TPUs; docs/benchmarks.md has the measurements.
"""

from dataclasses import dataclass

from samjax.models.sam.sam import SamConfig

_TRAINED_ON_CPU, _DECODED_ON_CPU = 4 * 32 * 32, 4 * 64 * 64
"""Cells of the image that a group's masks have together on a CPU, with and without their gradient."""
_ON_ACCELERATORS = 16


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How a device plays the masks of its photos in training."""

    masks_at_once: int
    """Masks that are decoded together."""
    recompute_rounds: bool
    """Whether the backward pass decodes each round again, instead of keeping its activations."""


def best_grouping(model: SamConfig, platform: str) -> Grouping:
    """Return the fastest grouping for training on a platform.

    On accelerators what a round keeps goes through main memory, and is computed again in less time. On a CPU that
    takes a few percent longer, and a third of the memory.
    """
    if platform == "cpu":
        return Grouping(masks_at_once=_masks(_TRAINED_ON_CPU, model), recompute_rounds=False)
    return Grouping(masks_at_once=_ON_ACCELERATORS, recompute_rounds=True)


def decoded_at_once(model: SamConfig, platform: str) -> int:
    """Return how many masks a device of `platform` decodes fastest together, without their gradient."""
    return _masks(_DECODED_ON_CPU, model) if platform == "cpu" else _ON_ACCELERATORS


def _masks(cells: int, model: SamConfig) -> int:
    return max(1, cells // (model.grid[0] * model.grid[1]))
