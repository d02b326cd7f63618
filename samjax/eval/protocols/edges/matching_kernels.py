"""Compiled loops that match the pixels of two edge maps, one to one, as many as can be and at the least cost.

A pair within the radius is worth `WORTH` less its cost, and matchings of the greatest worth are looked for: `WORTH` is
more than all costs together, so a pair more outweighs them. Every pixel carries a price of at least 0, and it is kept
that (1) the prices of two pixels within the radius sum to their worth or more, (2) those of a pair to just their worth,
(3) pixels without a partner have the price 0. Prices and pairs that satisfy all three are a proof that no matching is
worth more. A pixel that comes or goes upsets (3) for one pixel alone, and one search for the cheapest way to alter
pairs around it, Dijkstra's, restores it: hence edge maps of falling thresholds, which differ by a few pixels, are
matched one from the other.

Maps are flat, with a margin as wide as the radius, so that a neighbour is an offset away and none lies outside.
Pixels of the one map are on side 0, those of the other on side 1.
"""

from typing import no_type_check

import numpy as np

from samjax.core.numba_cache import jit_kernel

WORTH = 2**40

# All in one file: the cache of compiled code knows of changes in the caller's file alone. The functions below carry
# no_type_check so that the tests' run-time type checks leave them to Numba.


@jit_kernel
@no_type_check
def _rise(heap, place_of, distance, place):
    """Move the pixel at `place` of the heap up to where it belongs."""
    pixel = heap[place]
    key = distance[pixel]
    while place > 0:
        above = (place - 1) >> 1
        if distance[heap[above]] <= key:
            break
        heap[place] = heap[above]
        place_of[heap[place]] = place
        place = above
    heap[place] = pixel
    place_of[pixel] = place


@jit_kernel
@no_type_check
def _sink(heap, place_of, distance, size):
    """Move the pixel at the heap's top down to where it belongs."""
    pixel = heap[0]
    key = distance[pixel]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and distance[heap[below + 1]] < distance[heap[below]]:
            below += 1
        if distance[heap[below]] >= key:
            break
        heap[place] = heap[below]
        place_of[heap[place]] = place
        place = below
    heap[place] = pixel
    place_of[pixel] = place


@jit_kernel
@no_type_check
def appear(side, pixel, present, price, partner, offsets, costs):
    """Put a pixel on its side at the least price that satisfies (1); `settle` it next."""
    other = 1 - side
    least = np.int64(0)
    for k in range(len(offsets)):
        worth = WORTH - costs[k]
        if worth <= least:
            break
        neighbour = pixel + offsets[k]
        if present[other, neighbour]:
            least = max(least, worth - price[other, neighbour])
    present[side, pixel] = True
    price[side, pixel] = least
    partner[side, pixel] = -1


@jit_kernel
@no_type_check
def settle(side, start, present, price, partner, offsets, costs, distance, seen, origin, heap, place_of, reached, turn):
    """Restore (3) for `start`, a pixel of `side` without a partner: find it one, or bring its price to 0.

    Others may have their partners changed, and one may lose it to `start`. Distances are of pixels of the other side,
    from `start`, in price; `seen` says by the number `turn` of this search which are meant.
    """
    other = 1 - side
    bound = price[side, start]  # the least distance to an end so far: `start` itself, left without a partner
    goal, left = -1, start
    size = count = 0
    pixel, so_far = start, np.int64(0)
    while True:
        base = so_far + price[side, pixel] - WORTH
        for k in range(len(offsets)):
            if base + costs[k] >= bound:
                break
            neighbour = pixel + offsets[k]
            if not present[other, neighbour]:
                continue
            far = base + costs[k] + price[other, neighbour]
            if far >= bound:
                continue
            if partner[other, neighbour] < 0:
                bound, goal, left = far, neighbour, -1
                origin[neighbour] = pixel
            elif seen[neighbour] != turn:
                seen[neighbour], distance[neighbour], origin[neighbour] = turn, far, pixel
                heap[size] = neighbour
                _rise(heap, place_of, distance, size)
                size += 1
            elif place_of[neighbour] >= 0 and far < distance[neighbour]:
                distance[neighbour], origin[neighbour] = far, pixel
                _rise(heap, place_of, distance, place_of[neighbour])
        if size == 0 or distance[heap[0]] >= bound:
            break
        nearest = heap[0]
        place_of[nearest] = -1
        size -= 1
        if size:
            heap[0] = heap[size]
            _sink(heap, place_of, distance, size)
        reached[count] = nearest
        count += 1
        pixel, so_far = partner[other, nearest], distance[nearest]
        if so_far + price[side, pixel] < bound:
            bound, goal, left = so_far + price[side, pixel], -1, pixel
    price[side, start] -= bound
    for k in range(count):
        gain = bound - distance[reached[k]]
        price[other, reached[k]] += gain
        price[side, partner[other, reached[k]]] -= gain
    if left == start:
        return
    if goal < 0:
        goal = partner[side, left]
        partner[side, left] = -1
    while True:
        pixel = origin[goal]
        before = partner[side, pixel]
        partner[side, pixel], partner[other, goal] = goal, pixel
        if pixel == start:
            return
        goal = before


@jit_kernel
@no_type_check
def thin_flat(picture, pixels, count, offsets, first, second):
    """Thin the flat `picture`, of whose margin no pixel is set, until nothing changes; return how many pixels stay.

    Args:
      pixels: where it is set, the first `count`; those that stay afterwards, in the same order.
      offsets: of the eight neighbours, whose bits make an entry of `first` and `second`.
      first: by neighbourhood, whether the first turn of a round removes a pixel; `second` likewise.
    """
    gone = np.empty(count, np.int64)
    while True:
        before = count
        for turn in range(2):
            removed = 0
            for k in range(count):
                pixel = pixels[k]
                around = 0
                for bit in range(8):
                    around |= picture[pixel + offsets[bit]] << bit
                if (second if turn else first)[around]:
                    gone[removed] = pixel
                    removed += 1
            if removed == 0:
                continue
            for k in range(removed):
                picture[gone[k]] = 0
            kept = 0
            for k in range(count):
                if picture[pixels[k]]:
                    pixels[kept] = pixels[k]
                    kept += 1
            count = kept
        if count == before:
            return count


@jit_kernel
@no_type_check
def count_levels(edges, levels, truths, offsets, costs, around, first, second, counts, partner):
    """Match an edge map, cut at each of `levels` and thinned, with every annotator's boundaries.

    Args:
      edges: the flat map with its margin, 0 there.
      levels: the least value that is an edge, in descending order.
      truths: a flat map an annotator.
      offsets: of neighbours within the radius, by ascending `costs`.
      around: offsets of the eight neighbours, see `thin`.
      counts: out, a row a level: boundary pixels matched, summed over annotators; pixels of the thinned map that any
        annotator's match; pixels of the thinned map.
      partner: out, annotators x 2 x pixels: each pixel's partner at the last level, -1 where there is none.
    """
    total, people = len(edges), len(truths)
    present = np.zeros((people, 2, total), np.bool_)
    price = np.zeros((people, 2, total), np.int64)
    for person in range(people):
        for pixel in range(total):
            present[person, 1, pixel] = truths[person, pixel]
    distance, seen = np.zeros(total, np.int64), np.zeros(total, np.int64)
    origin, heap, place_of = np.zeros(total, np.int32), np.zeros(total, np.int32), np.zeros(total, np.int32)
    reached, upset = np.zeros(total, np.int32), np.zeros(total, np.int32)
    before, picture = np.zeros(total, np.uint8), np.zeros(total, np.uint8)
    pixels, earlier = np.zeros(total, np.int32), np.zeros(total, np.int32)
    had, turn, set_before = 0, 0, -1
    for row in range(len(levels)):
        count = 0
        for pixel in range(total):
            there = edges[pixel] >= levels[row]
            picture[pixel] = there
            if there:
                pixels[count] = pixel
                count += 1
        if count == set_before:  # levels descend: the same pixels
            counts[row] = counts[row - 1]
            continue
        set_before = count
        count = thin_flat(picture, pixels, count, around, first, second)
        for person in range(people):
            here, cost, mate = present[person], price[person], partner[person]
            waiting = 0
            for k in range(had):
                pixel = earlier[k]
                if not picture[pixel]:
                    here[0, pixel] = False
                    cost[0, pixel] = 0
                    if mate[0, pixel] >= 0:
                        upset[waiting] = mate[0, pixel]
                        mate[1, mate[0, pixel]] = -1
                        mate[0, pixel] = -1
                        waiting += 1
            for k in range(count):
                pixel = pixels[k]
                if not before[pixel]:
                    turn += 1
                    appear(0, pixel, here, cost, mate, offsets, costs)
                    settle(
                        0, pixel, here, cost, mate, offsets, costs,
                        distance, seen, origin, heap, place_of, reached, turn,
                    )  # fmt: skip
            for k in range(waiting):
                if mate[1, upset[k]] < 0:
                    turn += 1
                    settle(
                        1, upset[k], here, cost, mate, offsets, costs,
                        distance, seen, origin, heap, place_of, reached, turn,
                    )  # fmt: skip
        recalled = precise = 0
        for k in range(count):
            pairs = 0
            for person in range(people):
                pairs += partner[person, 0, pixels[k]] >= 0
            recalled += pairs
            precise += pairs > 0
        counts[row, 0], counts[row, 1], counts[row, 2] = recalled, precise, count
        for k in range(had):
            before[earlier[k]] = 0
        for k in range(count):
            before[pixels[k]] = 1
            earlier[k] = pixels[k]
        had = count
