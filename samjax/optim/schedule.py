"""The learning rate of a run."""

from typing import Annotated

import jax.numpy as jnp
import optax

from samjax.core.errors import UserError
from samjax.core.ranges import Count, CountOrNone, Range, config_class


@config_class("optim.schedule")
class ScheduleConfig:
    """Linear warmup, then a constant rate that drops by `drop_factor` at each milestone (Segment Anything, A)."""

    peak_lr: Annotated[float, Range(above=0, why="a rate below 0 learns the opposite, and 0 nothing")] = 8e-4
    """Learning rate after the warmup."""
    warmup_steps: CountOrNone = 250
    """Updates until the rate is at its peak, rising linearly; 0 begins at the peak."""
    milestones: tuple[Count, ...] = (60_000, 86_666)
    """Numbers of updates after which the rate drops, ascending."""
    drop_factor: Annotated[float, Range(above=0, at_most=1, why="the rate is multiplied by it at a milestone")] = 0.1
    """What the rate is multiplied by at each milestone."""

    def __post_init__(self):
        if list(self.milestones) != sorted(set(self.milestones)):
            raise UserError(f"optim.schedule.milestones are {self.milestones}; give ascending numbers of updates")


def learning_rate(config: ScheduleConfig) -> optax.Schedule:
    """Return the rate as a function of the number of updates already made.

    The first update is made at peak_lr / warmup_steps, update `warmup_steps` and later ones at the peak: no update is
    wasted on a rate of zero.
    """
    steady = optax.piecewise_constant_schedule(config.peak_lr, dict.fromkeys(config.milestones, config.drop_factor))
    warmup = max(1, config.warmup_steps)
    return lambda count: steady(count) * jnp.minimum(1.0, (count + 1) / warmup)
