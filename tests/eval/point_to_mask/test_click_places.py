"""Clicks on a photo's own pixels: those of the annotator on the device, and drawn ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from samjax.eval.protocols.point_to_mask.places import Place, central_place, correcting_place, random_place
from samjax.prompting.clicks import central_click, central_correction

SIZE = (9, 12)
first_click, correction = jax.jit(central_click), jax.jit(central_correction)
MASKS = arrays.arrays(bool, SIZE)


@settings(max_examples=40)
@given(MASKS.filter(np.any))
def test_the_first_click_is_the_annotators(mask):
    """Training's validation places it by a transform of its own."""
    click = first_click(masks=jnp.asarray(mask)[None, None], valid_size=jnp.array([SIZE]))
    assert central_place(mask) == Place(*np.asarray(click.coords[0, 0]).astype(int).tolist(), True)


@settings(max_examples=40)
@given(MASKS.filter(np.any), MASKS)
def test_corrections_are_the_annotators(truth, predicted):
    logits = jnp.where(jnp.asarray(predicted), 1.0, -1.0)[None, None]
    click = correction(logits=logits, masks=jnp.asarray(truth)[None, None], valid_size=jnp.array([SIZE]))
    x, y = np.asarray(click.coords[0, 0]).astype(int).tolist()
    assert correcting_place(predicted=predicted, truth=truth) == Place(x, y, bool(click.labels[0, 0]))


def test_beyond_the_photo_is_outside():
    """A mask that fills the photo is clicked in its middle."""
    assert central_place(np.ones((7, 11), bool)) == Place(3, 3, True)


def test_a_random_click_is_on_the_object_and_the_same_each_time():
    mask = np.zeros(SIZE, bool)
    mask[2:5, 3:9] = True
    drawn = [random_place(mask, seed=1, instance=number) for number in range(400)]
    assert drawn == [random_place(mask, seed=1, instance=number) for number in range(400)]
    assert {(place.x, place.y) for place in drawn} == {(x, y) for y in range(2, 5) for x in range(3, 9)}
    assert drawn != [random_place(mask, seed=2, instance=number) for number in range(400)]


@pytest.mark.parametrize("place", [central_place, lambda mask: random_place(mask, seed=0, instance=0)])
def test_nothing_can_be_clicked_on_an_empty_mask(place):
    with pytest.raises(ValueError, match="empty"):
        place(np.zeros(SIZE, bool))
