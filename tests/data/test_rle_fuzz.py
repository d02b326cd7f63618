"""Whatever a file says of a mask, reading it ends soon, in bounded memory, with a mask or the reason why not.

The compiled loops are compared with pycocotools, whose C code is only given counts that were found good, and with a
reading of the code in plain Python that knows nothing of how they work.
"""

import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from samjax.data.masks import rle
from samjax.data.masks.packing import pack_mask, resize_mask
from samjax.data.masks.resample import MaskGrid, resample

CODE = "".join(map(chr, range(48, 112)))


def written(run):
    """One number as the code writes it."""
    digits = ""
    while True:
        digit, run = run & 31, run >> 5
        more = run != (-1 if digit & 16 else 0)
        digits += chr(48 + digit + 32 * more)
        if not more:
            return digits


def encoded(runs):
    return "".join(written(run - (runs[index - 2] if index > 2 else 0)) for index, run in enumerate(runs))


def read_plainly(counts, height, width):
    """The mask, or None where the counts describe none."""
    runs, value, shift = [], 0, 0
    for character in counts:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift >= 30:
            return None
        value |= (digit & 31) << shift
        shift += 5
        if digit >= 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        if runs[-1] < 0:
            return None
        value, shift = 0, 0
    if shift or not runs or sum(runs) != height * width:
        return None
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


@st.composite
def runs_of_a_size(draw):
    """Runs that cover their size, or nearly, also of length zero."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    cuts = draw(st.lists(st.integers(0, height * width), max_size=40).map(sorted))
    runs = np.diff([0, *cuts, height * width]).tolist()
    off = draw(st.sampled_from([0, 0, 0, 0, -1, 1, 1000]))
    runs[-1] = runs[-1] + off
    return encoded(runs), height, width


@st.composite
def mutated(draw):
    """Good counts with characters changed, added, taken away."""
    counts, height, width = draw(runs_of_a_size())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(counts)))
        keep = at + draw(st.integers(0, 2))
        counts = counts[:at] + draw(st.text(CODE + " é\x00\x7f", max_size=2)) + counts[keep:]
    return counts, height, width


ANYTHING = st.one_of(
    runs_of_a_size(),
    mutated(),
    st.tuples(st.text(CODE, max_size=40), st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.text(max_size=20), st.integers(-5, 24), st.integers(-(2**70), 2**70)),
)


def check(counts, height, width, target):
    expected = read_plainly(counts, height, width) if 0 < height * width <= 2**26 and height > 0 else None
    try:
        decoded = rle.decode(counts, height=height, width=width)
    except rle.RleError:
        assert expected is None, "a mask was refused"
        with pytest.raises(rle.RleError):
            resample(counts, height=height, width=width, size=target)
        return
    assert expected is not None, "what is no mask was read"
    np.testing.assert_array_equal(decoded, expected)
    with warnings.catch_warnings():  # pycocotools does not know NumPy 2's copy argument
        warnings.simplefilter("ignore", DeprecationWarning)
        packed = {"size": [height, width], "counts": counts.encode()}
        np.testing.assert_array_equal(coco.decode(packed).astype(bool), decoded)
        areas = rle.measure(rle.join([counts]), height=height, width=width)
        assert areas.tolist() == [coco.area(packed)] == [rle.area(rle.parse_runs(counts, height=height, width=width))]
    np.testing.assert_array_equal(
        resample(counts, height=height, width=width, size=target),
        pack_mask(resize_mask(decoded, size=target), frame=target),
    )


def fuzz(cases):
    sizes = st.tuples(st.integers(1, 30), st.integers(1, 30))

    @settings(max_examples=cases, database=None, suppress_health_check=list(HealthCheck))
    @given(case=ANYTHING, target=sizes)
    def run(case, target):
        check(*case, target)

    run()


def test_the_strategies_give_good_and_bad_masks():
    """Else the fuzz would prove nothing."""
    found = {True: 0, False: 0}

    @settings(max_examples=300, database=None, derandomize=True)
    @given(case=ANYTHING)
    def count(case):
        counts, height, width = case
        small = 0 < height < 100 and 0 < width < 100
        found[small and read_plainly(counts, height, width) is not None] += 1

    count()
    assert found[True] > 60
    assert found[False] > 60


def test_counts_are_masks_or_are_refused():
    fuzz(400)


@pytest.mark.long
@pytest.mark.slow
def test_counts_are_masks_or_are_refused_a_hundred_thousand_times():
    """Memory is measured over all of it: nothing is kept, and nothing grows with what the counts claim."""
    fuzz(1_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzz(100_000)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 200, f"{grown:.0f} MiB"


HOSTILE = """
import resource, sys, time
from samjax.data.masks import rle
from samjax.data.masks.resample import resample
resample("1", height=1, width=1, size=(1, 1))
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
for counts, height, width in [
    ("ooooonoooo", 10**9, 10**9),                    # a size of 10**18
    ("oooook", 2**13, 2**13),                        # a run of half a thousand million
    ("PPPPPPPP" * 2**18, 8, 8),                      # two million numbers, all of them minus sixteen
    ("0" * 2**21, 8, 8),                             # two million runs of nothing
    ("o" * 2**21, 8, 8),                             # a number that never ends
    ("1" * 2**21, 8, 8),
    ("0" + "ooooo?" * 2**18, 2**13, 2**13),          # differences that would grow without bound
    ("?", -(10**30), -(10**30)),
]:
    for read in (rle.parse_runs, lambda *args, **size: resample(*args, **size, size=(1024, 1024))):
        try:
            read(counts, height=height, width=width)
        except rle.RleError as error:
            assert len(str(error)) < 200
        else:
            raise AssertionError(counts[:20])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown, time.monotonic() - began)
"""


def test_hostile_counts_cost_no_more_than_their_length():
    """Sizes and runs that claim 10^18 pixels: nothing is allocated for what is only claimed."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", HOSTILE], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    kib, seconds = map(float, done.stdout.split())
    assert kib < 30 * 1024
    assert seconds < 5


@settings(max_examples=200)
@given(cases=st.lists(runs_of_a_size().map(lambda case: case[0]), min_size=1, max_size=6), size=st.integers(1, 24))
def test_a_bad_mask_among_others_is_named(cases, size):
    """Each is judged by itself, whatever stands before and behind it."""
    good = [read_plainly(counts, size, size) is not None for counts in cases]
    codes = rle.join(cases)
    assert (rle.scan(codes, height=size, width=size).verdicts == 0).tolist() == good
    if not all(good):
        with pytest.raises(rle.RleError, match=f"annotation {good.index(False)}: "):
            rle.measure(codes, height=size, width=size)


def test_masks_of_one_grid_do_not_touch_each_other():
    """Painted together they are what each is alone, with refused ones left out of the order."""
    rng = np.random.default_rng(0)
    masks = rng.random((9, 13, 17)) < 0.4
    counts = [rle.encode(mask)["counts"] for mask in masks]
    counts.insert(4, "oo")
    codes = rle.join(counts)
    order = np.flatnonzero(rle.scan(codes, height=13, width=17).verdicts == 0)
    assert order.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    painted = MaskGrid.to_size(height=13, width=17, size=(7, 29)).paint(codes, order, most=64)
    expected = [pack_mask(resize_mask(mask, size=(7, 29)), frame=(7, 29)) for mask in masks]
    np.testing.assert_array_equal(painted.masks, expected)
