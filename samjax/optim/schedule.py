"""The learning rate of a run."""

from dataclasses import dataclass

import jax.numpy as jnp
import optax


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Linear warmup, then a constant rate that drops by `drop_factor` at each milestone (Segment Anything, A)."""

    peak_lr: float = 8e-4
    warmup_steps: int = 250
    milestones: tuple[int, ...] = (60_000, 86_666)
    drop_factor: float = 0.1


def learning_rate(config: ScheduleConfig) -> optax.Schedule:
    """Return the rate as a function of the number of updates already made.

    The first update is made at peak_lr / warmup_steps, update `warmup_steps` and later ones at the peak: no update is
    wasted on a rate of zero.
    """
    steady = optax.piecewise_constant_schedule(config.peak_lr, dict.fromkeys(config.milestones, config.drop_factor))
    warmup = max(1, config.warmup_steps)
    return lambda count: steady(count) * jnp.minimum(1.0, (count + 1) / warmup)
