"""Where a run leaves a reference's noise."""

import numpy as np
import pytest

from samjax.runs.parting import FEWEST, WINDOW, find_parting, noise_of, smooth
from samjax.runs.run_history import Series


def curve(seed: int, *, points: int = 120, noise: float = 0.1, every: int = 10) -> Series:
    """Return a falling loss."""
    steps = every * np.arange(1, points + 1)
    draw = np.random.default_rng(seed)
    return Series(step=steps, value=2 * np.exp(-steps / 400) + noise * draw.normal(size=points))


def shifted(series: Series, by: float, *, first: int, last: int | None = None) -> Series:
    inside = (series.step >= first) & (series.step < (last or series.step[-1] + 1))
    return Series(step=series.step, value=series.value + by * inside)


def test_noise_is_that_of_the_curve_whatever_its_trend():
    assert noise_of(curve(0, points=2_000).value) == pytest.approx(0.1, rel=0.05)
    assert noise_of(np.linspace(1.0, 0.0, 50)) < 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_the_same_run_with_other_noise_does_not_part(seed):
    found = find_parting(curve(seed), curve(1000 + seed))
    assert found.first is None
    assert not found.is_equal
    assert "within the reference's noise" in found.words()


@pytest.mark.parametrize("seed", range(10))
def test_a_shift_is_found_where_it_begins(seed):
    """By three and a half times the noise of a value: to within the points that are averaged."""
    run = shifted(curve(seed), 0.35, first=600)
    found = find_parting(run, curve(1000 + seed))
    assert found.first is not None
    assert abs(found.first - 600) <= 10 * WINDOW
    assert found.last is None
    assert f"parts at step {found.first:,} " in found.words()


def test_a_run_that_comes_back_is_told():
    run = shifted(curve(3), -0.5, first=300, last=700)
    found = find_parting(run, curve(4))
    assert found.first is not None
    assert found.last is not None
    assert abs(found.first - 300) <= 10 * WINDOW
    assert abs(found.last - 700) <= 10 * WINDOW
    assert "again from step" in found.words()


def test_a_rate_without_noise_parts_where_it_differs():
    """A schedule has no noise: what differs, differs; and a rounding does not."""
    reference = Series(step=np.arange(40), value=np.linspace(1e-3, 1e-4, 40))
    assert find_parting(Series(step=reference.step, value=reference.value * (1 + 1e-8)), reference).first is None
    changed = Series(step=reference.step, value=np.where(reference.step < 20, reference.value, reference.value / 2))
    found = find_parting(changed, reference)
    assert found.first is not None
    assert 20 - WINDOW // 2 <= found.first <= 20


def test_only_steps_that_both_logged_count():
    often, seldom = curve(1, points=240, every=5), curve(2, points=60, every=20)
    assert find_parting(often, seldom).points == 60
    few = Series(step=np.arange(FEWEST - 1), value=np.arange(FEWEST - 1.0))
    found = find_parting(Series(step=few.step, value=few.value + 9), few)
    assert (found.first, found.noise) == (None, None)
    assert "4 steps in common: too few to tell" in found.words()
    assert find_parting(few, few).words() == "equal at all 4 steps"


def test_equal_runs_are_equal():
    found = find_parting(curve(1), curve(1))
    assert found.is_equal
    assert found.words() == "equal at all 120 steps"


def test_means_at_the_ends_are_of_fewer_points():
    assert smooth(np.array([1.0, 2.0, 3.0, 4.0, 8.0]), 3).tolist() == pytest.approx([1.5, 2, 3, 5, 6])
