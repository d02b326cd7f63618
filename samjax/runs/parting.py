"""From which step on a run differs from another by more than that one's noise.

The rule. Both curves are compared at the n steps that both logged. The reference's noise is the spread of its values
about a smooth curve, from its second differences: their median size, times 1.4826 for a normal distribution, over the
square root of 6; a trend does not count. The difference of the runs is averaged over 9 neighbouring points, or the
nearest odd number to a third of n where that is less. Of two runs with that noise each, a mean of m differences strays
by noise * sqrt(2 / m). Where it is more than 4 times that, and more than a millionth of the values, it has left the
noise. The runs part at the first step from which that lasts for as many points as are averaged; they are back at the
first step after it from which it does not, for as many points.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from samjax.runs.run_history import Series

WINDOW = 9
TIMES = 4.0
FEWEST = 5
"""Steps that both must have."""
_RELATIVE = 1e-6
_TO_STD = 1.4826


@dataclass(frozen=True, kw_only=True)
class Parting:
    """How one figure of a run relates to a reference's."""

    points: int
    """Steps that both logged."""
    is_equal: bool
    """At every one of these steps, bit for bit."""
    first: int | None = None
    """The step from which they part; None if they do not, or there are fewer than `FEWEST` steps."""
    last: int | None = None
    """The step at which they are back within the noise; None if they stay apart."""
    noise: float | None = None
    """The reference's, of one value; None of fewer than `FEWEST` steps."""

    def words(self) -> str:
        """Return it in words."""
        if self.is_equal and self.points:
            return f"equal at all {self.points:,} steps"
        if self.noise is None:
            return f"{self.points:,} steps in common: too few to tell"
        if self.first is None:
            return f"within the reference's noise, {self.noise:.2g}"
        until = "" if self.last is None else f", within it again from step {self.last:,}"
        return f"parts at step {self.first:,}{until} (noise {self.noise:.2g})"


def find_parting(run: Series, reference: Series) -> Parting:
    """Return where `run` leaves the noise of `reference`, by this module's rule."""
    steps = np.intersect1d(run.step, reference.step)
    own, other = run.at(steps), reference.at(steps)
    is_equal = bool(np.array_equal(own, other))
    if len(steps) < FEWEST:
        return Parting(points=len(steps), is_equal=is_equal)
    noise = noise_of(other)
    window = min(WINDOW, 1 + 2 * ((len(steps) // 3 - 1) // 2))
    counts = smooth_counts(len(steps), window)
    difference = _sums(own - other, window) / counts
    limit = np.maximum(TIMES * noise * np.sqrt(2 / counts), _RELATIVE * np.maximum(np.abs(own), np.abs(other)))
    outside = np.abs(difference) > limit
    first = _first_run(outside, window)
    if first is None:
        return Parting(points=len(steps), is_equal=is_equal, noise=noise)
    back = _first_run(~outside[first:], window)
    last = None if back is None else int(steps[first + back])
    return Parting(points=len(steps), is_equal=is_equal, noise=noise, first=int(steps[first]), last=last)


def noise_of(values: Float64[np.ndarray, "n"]) -> float:
    """Return the spread of values about a smooth curve, as the standard deviation of a normal distribution."""
    return float(_TO_STD * np.median(np.abs(np.diff(values, 2))) / np.sqrt(6))


def smooth(values: Float64[np.ndarray, "n"], window: int) -> Float64[np.ndarray, "n"]:
    """Return the mean of `window` points, an odd number, about each; of fewer at the ends."""
    return _sums(values, window) / smooth_counts(len(values), window)


def smooth_counts(count: int, window: int) -> Float64[np.ndarray, "n"]:
    """Return how many points each of `smooth`'s means is of."""
    return _sums(np.ones(count), window)


def _sums(values: Float64[np.ndarray, "n"], window: int) -> Float64[np.ndarray, "n"]:
    return np.convolve(values, np.ones(window), mode="same")


def _first_run(outside: Bool[np.ndarray, "n"], length: int) -> int | None:
    """Return where the first `length` true values in a row begin."""
    full = np.convolve(outside, np.ones(length), mode="valid") > length - 0.5
    return int(np.argmax(full)) if full.any() else None
