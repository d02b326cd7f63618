"""The learning rate of a run: a config a kind."""

import abc
from typing import Annotated

import jax.numpy as jnp
import optax

from samjax.core.errors import UserError
from samjax.core.ranges import Count, CountOrNone, Range, Share, config_class


@config_class("optim.schedule")
class ScheduleConfig(abc.ABC):
    """What every kind has: a linear warm-up to a peak; the kind says what comes after it."""

    peak_lr: Annotated[float, Range(above=0, why="a rate below 0 learns the opposite, and 0 nothing")] = 8e-4
    """Learning rate after the warmup."""
    warmup_steps: CountOrNone = 250
    """Updates until the rate is at its peak, rising linearly; 0 begins at the peak."""

    @abc.abstractmethod
    def steady(self, steps: int) -> optax.Schedule:
        """Return the rate without a warm-up as a function of the number of updates already made, of `steps` in all."""

    def learning_rate(self, steps: int) -> optax.Schedule:
        """Return the rate of a run of `steps` updates as a function of the number of updates already made.

        The first update is made at peak_lr / warmup_steps, update `warmup_steps` and later ones at the steady rate: no
        update is wasted on a rate of zero.
        """
        steady = self.steady(steps)
        warmup = max(1, self.warmup_steps)
        return lambda count: steady(count) * jnp.minimum(1.0, (count + 1) / warmup)


@config_class("optim.schedule")
class DropsConfig(ScheduleConfig):
    """A constant rate that drops by `drop_factor` at each milestone (Segment Anything, A)."""

    milestones: tuple[Count, ...] = (60_000, 86_666)
    """Numbers of updates after which the rate drops, ascending."""
    drop_factor: Annotated[float, Range(above=0, at_most=1, why="the rate is multiplied by it at a milestone")] = 0.1
    """What the rate is multiplied by at each milestone."""

    def __post_init__(self):
        if list(self.milestones) != sorted(set(self.milestones)):
            raise UserError(f"optim.schedule.milestones are {self.milestones}; give ascending numbers of updates")

    def steady(self, steps: int) -> optax.Schedule:
        """Return the piecewise constant rate, whatever `steps` is."""
        del steps
        return optax.piecewise_constant_schedule(self.peak_lr, dict.fromkeys(self.milestones, self.drop_factor))


@config_class("optim.schedule")
class ConstantConfig(ScheduleConfig):
    """The peak rate to the end."""

    def steady(self, steps: int) -> optax.Schedule:
        """Return the constant rate."""
        del steps
        return lambda count: jnp.full(jnp.shape(count), self.peak_lr, jnp.float32)


@config_class("optim.schedule")
class CosineConfig(ScheduleConfig):
    """Half a cosine from the peak, after the warm-up, to a share of it at the last update (Loshchilov & Hutter)."""

    end_share: Share = 0.0
    """Share of the peak that the rate ends at."""

    def steady(self, steps: int) -> optax.Schedule:
        """Return the rate, the peak before the cosine begins."""
        begin = min(self.warmup_steps, steps - 1)
        cosine = optax.cosine_decay_schedule(self.peak_lr, decay_steps=steps - begin, alpha=self.end_share)
        return lambda count: cosine(jnp.maximum(count - begin, 0))


@config_class("optim.schedule")
class PolynomialConfig(ScheduleConfig):
    """peak x (1 - progress)^power, over all updates, warm-up included, as the segmentation codebases count it."""

    power: Annotated[float, Range(above=0, why="at 0 the rate would stay, which is ConstantConfig")] = 0.9
    """1 is a straight line."""
    end_lr: Annotated[float, Range(at_least=0, why="a rate below 0 learns the opposite")] = 0.0
    """Learning rate after the last update."""

    def __post_init__(self):
        if self.end_lr > self.peak_lr:
            raise UserError(
                f"optim.schedule.end_lr is {self.end_lr}, above peak_lr, {self.peak_lr}; it is what it ends at"
            )

    def steady(self, steps: int) -> optax.Schedule:
        """Return the rate."""
        return optax.polynomial_schedule(self.peak_lr, self.end_lr, self.power, transition_steps=steps)
