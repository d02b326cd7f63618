"""The compiled loop over an edge map's thresholds."""

from typing import no_type_check

import numpy as np

from samjax.core.compiled import compiled
from samjax.eval.edges.matching_kernels import appear, settle
from samjax.eval.edges.thinning import thin_flat


@compiled
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
