"""Non-maximum suppression of boxes on the host, as a compiled loop: for many choices of thresholds in a row."""

from typing import no_type_check

import numpy as np

from samjax.core.numba_cache import jit_kernel


# no_type_check: the tests' run-time type checks leave it to Numba.
@jit_kernel
@no_type_check
def suppress_in_groups(boxes, groups, places, limit, kept):
    """Keep what `nms.suppress` keeps of each group, in the same arithmetic, and return how many are kept.

    Args:
      boxes: x0, y0, x1, y1 of each box, float32.
      groups: of each box.
      places: indices of boxes, group by group, by descending score in each.
      limit: a box goes if its IoU with one that is kept is above it, float32.
      kept: out, the places that are kept, as long as `places`.
    """
    count, begin, group = 0, 0, -1
    nothing = np.float32(0)
    for place in places:
        if groups[place] != group:
            begin, group = count, groups[place]
        x0, y0, x1, y1 = boxes[place, 0], boxes[place, 1], boxes[place, 2], boxes[place, 3]
        area = (x1 - x0) * (y1 - y0)
        stays = True
        for rank in range(begin, count):
            other = boxes[kept[rank]]
            wide, high = min(x1, other[2]) - max(x0, other[0]), min(y1, other[3]) - max(y0, other[1])
            if wide <= nothing or high <= nothing:
                continue
            shared = wide * high
            union = (other[2] - other[0]) * (other[3] - other[1]) + area - shared
            if union > nothing and shared / union > limit:
                stays = False
                break
        if stays:
            kept[count] = place
            count += 1
    return count
