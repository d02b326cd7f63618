"""The search for the largest batch, over made-up curves of memory: always right, and few probes where it is a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samjax.plan.largest import Probe, largest

PHOTO = 1_000_000
CLOSE = PHOTO // 8


class Search:
    """A search over `curve`, and what it probed."""

    def __init__(self, curve, limit: int, *, start: int, base: int = 0, tells: bool = True, knows_limit: bool = True):
        self.probed: list[int] = []

        def probe(number: int) -> Probe:
            self.probed.append(number)
            fits = curve(number) <= limit
            return Probe(fits=fits, bytes=curve(number) if fits or tells else None)

        self.found = largest(probe, start=start, limit=limit if knows_limit else None, base=base)


@st.composite
def nearly_linear(draw):
    """A base and bytes per photo, every number a little above or below the line."""
    fixed = draw(st.integers(0, 100)) * PHOTO
    bends = draw(st.lists(st.integers(-CLOSE, CLOSE), min_size=7, max_size=7))
    return fixed, lambda number: fixed + number * PHOTO + bends[number % 7]


@given(nearly_linear(), st.floats(0.5, 500), st.integers(1, 8), st.floats(0.6, 1.1))
def test_a_nearly_linear_curve_takes_four_probes_after_the_first(curve, room, start, guessed):
    """The first is the plan's own step, which has been compiled; nothing is probed twice."""
    fixed, memory = curve
    limit = fixed + int(room * PHOTO)
    search = Search(memory, limit, start=start, base=int(guessed * fixed))
    answer = search.found
    assert answer == 0 or memory(answer) <= limit
    assert memory(answer + 1) > limit
    assert len(set(search.probed)) == len(search.probed) <= 5, search.probed


@given(
    st.lists(st.integers(0, 50 * PHOTO), min_size=1, max_size=300),
    st.floats(0, 1.2),
    st.integers(1, 64),
    st.integers(0, 400 * PHOTO),
    st.booleans(),
    st.booleans(),
)
def test_any_rising_curve_gives_the_right_answer(steps, share, start, base, tells, knows_limit):
    """Also one with jumps and plateaus, a compiler that does not say what it needs, and a base that is far off."""
    totals = [sum(steps[: number + 1]) for number in range(len(steps))]
    limit = int(share * totals[-1])

    def curve(number: int) -> int:
        return totals[number - 1] if number <= len(totals) else 2 * totals[-1] + 10**9 + number

    search = Search(curve, limit, start=start, base=base, tells=tells, knows_limit=knows_limit)
    fitting = [number for number in range(1, len(totals) + 1) if curve(number) <= limit]
    assert search.found == max(fitting, default=0)
    assert len(set(search.probed)) == len(search.probed) <= 24, "every probe is a compilation"


@pytest.mark.parametrize("needs", [0, PHOTO])
def test_a_search_without_end_ends(needs):
    search = Search(lambda number: number * needs, 10**12, start=1)
    assert search.found == 4096
    assert len(search.probed) < 16
