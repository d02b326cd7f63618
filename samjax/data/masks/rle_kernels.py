"""Compiled loops over the characters of run-length masks, without Python's lock.

Each mask is read digit by digit, twice at most: once to judge it (`scan`), once to use it. Nothing is kept between a
mask's runs but the last two, so memory does not depend on what a file says.
"""

import enum
from typing import no_type_check

import numpy as np

from samjax.core.numba_cache import jit_kernel

MAX_PIXELS = 2**26  # 67 million: twenty times a photo of SA-1B


class Verdict(enum.IntEnum):
    """What `scan` says of a mask."""

    GOOD = 0
    EMPTY = 1
    OUTSIDE_CODE = 2
    UNFINISHED = 3
    TOO_LARGE = 4
    NEGATIVE = 5
    MISMATCH = 6


# Plain numbers: Numba freezes them into the code.
_EMPTY, _OUTSIDE, _UNFINISHED, _TOO_LARGE = 1, 2, 3, 4
_NEGATIVE, _MISMATCH = 5, 6
_LONGEST = 30  # bits of a number: sign and 29, above MAX_PIXELS
_NEVER = 2**62  # a pixel that no run reaches


# The functions below carry no_type_check so that the tests' run-time type checks leave them to Numba.


@jit_kernel
@no_type_check
def scan(data, ends, pixels, verdicts, covered, runs, areas):
    """Judge masks of `pixels` pixels, and measure them.

    Args:
      data: the characters of all masks, one after the other.
      ends: where in `data` each mask ends.
      pixels: pixels of each mask.
      verdicts: out, a `Verdict` a mask; the outputs below are meant where it is GOOD.
      covered: out, pixels that the runs sum to; also meant where the verdict is MISMATCH.
      runs: out, how many there are.
      areas: out, pixels inside.
    """
    at = 0
    for mask in range(len(ends)):
        end = ends[mask]
        verdict = _EMPTY if at == end else 0
        count, total, area = 0, np.int64(0), np.int64(0)
        before, last = np.int64(0), np.int64(0)
        value, shift = np.int64(0), np.int64(0)
        while at < end:
            digit = np.int64(data[at]) - 48
            at += 1
            if digit < 0 or digit > 63:
                verdict = _OUTSIDE
                break
            value |= (digit & 31) << shift
            shift += 5
            if digit & 32:  # the number goes on
                if shift == _LONGEST:
                    verdict = _TOO_LARGE
                    break
                continue
            if digit & 16:
                value -= np.int64(1) << shift
            if count > 2:
                value += before
            if value < 0:
                verdict = _NEGATIVE
                break
            total += value
            if value > MAX_PIXELS:
                verdict = _MISMATCH
                break
            if count & 1:
                area += value
            before, last = last, value
            count += 1
            value, shift = np.int64(0), np.int64(0)
        if verdict == 0 and shift != 0:
            verdict = _UNFINISHED
        if verdict == 0 and total != pixels:
            verdict = _MISMATCH
        at = end
        verdicts[mask], covered[mask], runs[mask], areas[mask] = verdict, total, count, area


# The loops below read numbers as `scan` does, without its checks: they are for masks that it found good. A function
# for reading one number would cost ten times as much, its results going through memory.


@jit_kernel
@no_type_check
def expand(data, runs):
    """Write the run lengths of one mask that `scan` found good to `runs`."""
    count, value, shift = 0, np.int64(0), np.int64(0)
    for at in range(len(data)):
        digit = np.int64(data[at]) - 48
        value |= (digit & 31) << shift
        shift += 5
        if digit < 32:
            if digit & 16:
                value -= np.int64(1) << shift
            if count > 2:
                value += runs[count - 2]
            runs[count] = value
            count += 1
            value, shift = np.int64(0), np.int64(0)


@jit_kernel
@no_type_check
def _mark_changes(data, at, end, height, columns, row_at, rows, flip, out, bounds):
    """Flip the bits where a sampled column begins inside, or changes between outside and inside on the way down.

    `bounds` is set to the first and last row and column with a mark; without one the last are below the first.
    """
    sampled = len(columns)
    top, bottom, left, right = rows, -1, sampled, -1
    before, last, count = np.int64(0), np.int64(0), 0
    value, shift = np.int64(0), np.int64(0)
    position = np.int64(0)  # where the run at hand ends, in pixels
    inside = False  # the run at hand
    # Sampled columns `first` to `stop` are the same one of the mask and the last that has begun, at pixel `start`.
    first = stop = 0
    start, following = np.int64(-height), columns[0] * height
    while at < end:
        digit = np.int64(data[at]) - 48
        at += 1
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= np.int64(1) << shift
        if count > 2:
            value += before
        before, last = last, value
        count += 1
        position += value
        value, shift = np.int64(0), np.int64(0)
        while following < position:  # a column begins within this run
            first, start = stop, following
            stop += 1
            while stop < sampled and columns[stop] == columns[first]:
                stop += 1
            following = columns[stop] * height if stop < sampled else np.int64(_NEVER)
            if inside:
                top, left, right = 0, min(left, first), stop - 1
                bottom = max(bottom, 0)
                for bit in range(first, stop):
                    place = flip - bit if flip >= 0 else bit
                    out[0, place >> 3] ^= np.uint8(128 >> (place & 7))
        if position < start + height:  # the run ends within the column that has begun last
            row = row_at[position - start]
            if row < rows:
                top, bottom, left, right = min(top, row), max(bottom, row), min(left, first), stop - 1
                for bit in range(first, stop):
                    place = flip - bit if flip >= 0 else bit
                    out[row, place >> 3] ^= np.uint8(128 >> (place & 7))
        elif stop == sampled:
            break
        inside = not inside
    bounds[0], bounds[1], bounds[2], bounds[3] = top, bottom, left, right


@jit_kernel
@no_type_check
def _fill(out, rows, flip, bounds):
    """Turn marked changes into pixels, downwards, and return whether there is one."""
    top, bottom, left, right = bounds[0], bounds[1], bounds[2], bounds[3]
    if bottom < 0:
        return False
    if flip >= 0:
        left, right = flip - right, flip - left
    first, stop = left >> 3, (right >> 3) + 1
    found = np.uint8(0)
    for byte in range(first, stop):
        found |= out[top, byte]
    for row in range(top + 1, rows):
        some = np.uint8(0)
        for byte in range(first, stop):
            out[row, byte] ^= out[row - 1, byte]
            some |= out[row, byte]
        found |= some
        if row >= bottom and some == 0:
            break  # nothing is inside any more, and nothing changes below
    return found != 0


@jit_kernel
@no_type_check
def paint(data, ends, order, height, columns, row_at, rows, flip, out):
    """Write masks at sampled rows and columns, packed; return how many, and how many were left out as empty.

    Work is proportional to the characters of the masks and the bytes of `out`: only the pixels where a sampled column
    changes are touched one by one.

    Args:
      data: the characters of all masks, one after the other; `scan` found those of `order` good.
      ends: where in `data` each mask ends.
      order: which masks to write; after the first `len(out)` that are not empty no others are looked at.
      height: pixels of a column of the masks.
      columns: the columns to sample, in ascending order, perhaps several times.
      row_at: for each row of the masks, and one more, the first sampled row that is not above it.
      rows: how many rows are sampled.
      flip: -1, or the bit that the first sampled column is written to, the others to the left of it.
      out: zeros, masks x rows or more x bytes of a row, as `numpy.packbits` packs.
    """
    bounds = np.empty(4, np.int64)
    drawn = empty = 0
    for index in range(len(order)):
        if drawn == len(out):
            break
        mask = order[index]
        at = ends[mask - 1] if mask else 0
        _mark_changes(data, at, ends[mask], height, columns, row_at, rows, flip, out[drawn], bounds)
        if _fill(out[drawn], rows, flip, bounds):
            drawn += 1
        else:
            empty += 1  # without a pixel there was no change: the slot still holds zeros
    return drawn, empty
