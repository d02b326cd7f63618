"""COCO's matching of a photo's masks with its objects, as a compiled loop."""

from typing import no_type_check

import numpy as np

from samjax.core.numba_cache import jit_kernel

FALSE, TRUE, IGNORED = 0, 1, 2
"""A mask of no object; of one that is to be found; of one that is neither for nor against it."""


# no_type_check: the tests' run-time type checks leave it to Numba.
@jit_kernel
@no_type_check
def match_masks(masks, first, objects, ious, ignored, crowd, verdicts):
    """Give each of `masks` in turn the object it overlaps most, of those that are free; crowds always are.

    An object that is ignored is given only where no other fits. Of equal overlaps the last object is taken.

    Args:
      masks: indices by descending score.
      first, objects, ious: the overlaps of mask i are `first[i]` to `first[i + 1]` of the others, objects ascending.
      ignored: of each object, those that are come last.
      crowd: of each object.
      verdicts: out, of each of `masks`.
    """
    free = np.ones(len(ignored), np.bool_)
    for turn in range(len(masks)):
        mask, best, most = masks[turn], -1, 0.0
        for place in range(first[mask], first[mask + 1]):
            one = objects[place]
            if not (free[one] or crowd[one]):
                continue
            if best >= 0 and not ignored[best] and ignored[one]:
                break
            if ious[place] >= most:
                best, most = one, ious[place]
        if best < 0:
            verdicts[turn] = FALSE
            continue
        free[best] = False
        verdicts[turn] = IGNORED if ignored[best] else TRUE
