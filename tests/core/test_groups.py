"""Dividing a whole into equal parts."""

import pytest

from samjax.core.sizes import largest_divisor


@pytest.mark.parametrize("most", [-1, 0, 1, 5, 6, 11, 12, 100])
def test_the_largest_divisor_that_is_small_enough(most):
    allowed = [part for part in (1, 2, 3, 4, 6, 12) if part <= max(1, most)]
    assert largest_divisor(12, most) == allowed[-1]


def test_of_a_prime_all_or_one():
    assert largest_divisor(13, 12) == 1
    assert largest_divisor(13, 13) == 13
