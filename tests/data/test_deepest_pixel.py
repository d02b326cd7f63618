"""The deepest pixel of a mask, against a comparison of each pixel inside with each outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samjax.data.masks.deepest import deepest_pixel


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 5).map(bool)))
def test_it_is_the_farthest_in_steps_from_all_that_is_outside(mask):
    if not mask.any():
        with pytest.raises(ValueError, match="no pixel"):
            deepest_pixel(mask)
        return
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    inside = np.argwhere(mask)
    steps = [np.abs(outside - place).sum(axis=1).min() for place in inside]
    y, x = inside[int(np.argmax(steps))]
    assert deepest_pixel(mask) == (x, y)
