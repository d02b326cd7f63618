"""Compiled loops over the characters of run-length masks, without Python's lock.

Each mask is read digit by digit, twice at most: once to judge it (`scan`), once to use it. Nothing is kept between a
mask's runs but the last two, so memory does not depend on what a file says.

Numba compiles at the first call, about two seconds on a laptop, and keeps the code beside this file or, where that
cannot be written, in the user's cache folder.
"""

import enum
import functools
from collections.abc import Callable
from typing import Any, no_type_check

import numba
import numpy as np

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


def _compiled(function: Callable[..., Any]) -> Any:
    """Return `function` compiled at its first call, from a cache on disk where there is a place for one."""
    compile_ = functools.partial(numba.njit, nogil=True)
    try:
        return compile_(cache=True)(function)
    except RuntimeError:  # neither this folder nor the user's cache folder can be written
        return compile_()(function)


# The functions below carry no_type_check so that the tests' run-time type checks leave them to Numba.


@_compiled
@no_type_check
def _next_run(data, at, end):
    """Return the number that starts at `at`, where the next one starts, and an error or 0."""
    value, shift = np.int64(0), np.int64(0)
    while True:
        if at == end:
            return value, at, _UNFINISHED
        digit = np.int64(data[at]) - 48
        if digit < 0 or digit > 63:
            return value, at, _OUTSIDE
        if shift == _LONGEST:
            return value, at, _TOO_LARGE
        value |= (digit & 31) << shift
        shift += 5
        at += 1
        if digit < 32:  # bit 5 says that the number goes on
            if digit & 16:
                value -= np.int64(1) << shift
            return value, at, 0


@_compiled
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
        verdict, count, total, area = 0, 0, np.int64(0), np.int64(0)
        before, last = np.int64(0), np.int64(0)
        if at == end:
            verdict = _EMPTY
        while at < end:
            value, at, verdict = _next_run(data, at, end)
            if verdict != 0:
                break
            if count > 2:
                value += before
            if value < 0:
                verdict = _NEGATIVE
                break
            total += value
            if value > MAX_PIXELS:
                break
            if count & 1:
                area += value
            before, last = last, value
            count += 1
        if verdict == 0 and total != pixels:
            verdict = _MISMATCH
        at = end
        verdicts[mask], covered[mask], runs[mask], areas[mask] = verdict, total, count, area


@_compiled
@no_type_check
def expand(data, runs):
    """Write the run lengths of one mask that `scan` found good to `runs`."""
    at, end = 0, len(data)
    for index in range(len(runs)):
        value, at, _ = _next_run(data, at, end)
        if index > 2:
            value += runs[index - 2]
        runs[index] = value


@_compiled
@no_type_check
def _mark(out, row, first, stop, flip):
    """Flip bits `first` to `stop` of a row, counted from its other end, `flip`, if that is not negative."""
    for bit in range(first, stop):
        place = flip - bit if flip >= 0 else bit
        out[row, place >> 3] ^= np.uint8(128 >> (place & 7))


@_compiled
@no_type_check
def _mark_changes(data, at, end, height, columns, row_at, rows, flip, out):
    """Flip the bits where a sampled column begins inside, or changes between outside and inside on the way down."""
    position, at, _ = _next_run(data, at, end)  # where the run at hand ends, in pixels
    before, last, count = np.int64(0), position, 1
    inside = False  # the run at hand
    first, sampled = 0, len(columns)
    while first < sampled:
        stop = first + 1  # sampled columns `first` to `stop` are the same column of the mask
        while stop < sampled and columns[stop] == columns[first]:
            stop += 1
        start = columns[first] * height
        begun = False
        while True:
            if not begun and position > start:
                begun = True
                if inside:
                    _mark(out, 0, first, stop, flip)
            if position >= start + height or at == end:
                break
            if begun and row_at[position - start] < rows:
                _mark(out, row_at[position - start], first, stop, flip)
            value, at, _ = _next_run(data, at, end)
            if count > 2:
                value += before
            before, last = last, value
            count += 1
            position += value
            inside = not inside
        first = stop


@_compiled
@no_type_check
def _fill(out, rows):
    """Turn marked changes into pixels, row by row, and return whether there is one."""
    found = np.uint8(0)
    for byte in range(out.shape[1]):
        found |= out[0, byte]
    for row in range(1, rows):
        for byte in range(out.shape[1]):
            out[row, byte] ^= out[row - 1, byte]
            found |= out[row, byte]
    return found != 0


@_compiled
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
    drawn = empty = 0
    for index in range(len(order)):
        if drawn == len(out):
            break
        mask = order[index]
        at = ends[mask - 1] if mask else 0
        _mark_changes(data, at, ends[mask], height, columns, row_at, rows, flip, out[drawn])
        if _fill(out[drawn], rows):
            drawn += 1
        else:
            empty += 1  # without a pixel there was no change: the slot still holds zeros
    return drawn, empty
