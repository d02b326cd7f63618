"""Prompts as they are given: objects with different prompts, places on the border, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.errors import UserError
from samjax.core.prompts import PointLabel
from samjax.predict.promptable.prompt_arrays import photo_prompts

PHOTO, FITTED = (40, 96), (20, 48)


def read(**prompts):
    given = {"points": None, "labels": None, "boxes": None, "mask_logits": None, **prompts}
    return photo_prompts(**given, photo=PHOTO, fitted=FITTED, logits_size=(16, 16))


def refused(**prompts) -> str:
    with pytest.raises(UserError) as error:
        read(**prompts)
    return str(error.value)


def test_objects_with_different_prompts_are_what_each_is_alone():
    """Two points, a box, a point with a box: what an object lacks is not valid, and the rest is left-aligned."""
    objects = [
        {"points": [[9, 5], [30, 8]], "labels": [1, 0], "boxes": None},
        {"points": None, "labels": None, "boxes": [4, 4, 20, 30]},
        {"points": [[9, 5]], "labels": [1], "boxes": [1, 2, 3, 4]},
    ]
    together = read(**{name: [one[name] for one in objects] for name in ("points", "labels", "boxes")})
    for m, one in enumerate(objects):
        alone = read(**{name: None if value is None else [value] for name, value in one.items()})
        there = together.valid[m]
        np.testing.assert_array_equal(together.coords[m][there], alone.coords[0][alone.valid[0]])
        np.testing.assert_array_equal(together.labels[m][there], alone.labels[0][alone.valid[0]])
    assert together.valid.sum(axis=1).tolist() == [3, 2, 3]
    kinds = [row[valid].tolist() for row, valid in zip(together.labels, together.valid, strict=True)]
    corners = [PointLabel.BOX_MIN, PointLabel.BOX_MAX]
    assert kinds == [[1, 0, PointLabel.NOT_A_POINT], corners, [1, *corners]]


@pytest.mark.parametrize("as_array", [list, np.array, jnp.array])
def test_equal_numbers_of_points_are_an_array(as_array):
    found = read(points=as_array([[[9.0, 5.0]], [[30.0, 8.0]]]), labels=as_array([[1], [0]]))
    assert found.valid.all()
    np.testing.assert_array_equal(found.coords[:, 0], [[4.5, 2.5], [15, 4]])


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ([-0.00002, 3, 96.00002, 40.5], [0, 3, 96, 40]),
        ([-0.99, -0.5, 96.99, 40.99], [0, 0, 96, 40]),
        ([1, 2, 95.5, 39.5], [1, 2, 95.5, 39.5]),
    ],
)
def test_a_box_less_than_a_pixel_outside_is_clipped(box, clipped):
    np.testing.assert_array_equal(read(boxes=[box]).coords[0].ravel(), np.array(clipped) / 2)


def test_a_point_less_than_a_pixel_outside_goes_to_the_last_pixel():
    (places,) = 2 * read(points=[[[-0.25, 40.0], [96.9, 39.0]]], labels=[[1, 1]]).coords
    assert ((places[:2] >= 0) & (places[:2] < [96, 40])).all()
    np.testing.assert_allclose(places[:2], [[0, 40], [96, 39]], atol=1e-4)


def test_what_is_farther_outside_is_refused_with_its_digits():
    said = refused(boxes=np.array([[0, 0, 97.00002, 8]]))
    assert "boxes of object 0: (97.00002, 8) is outside the photo, which is 96 wide and 40 high" in said
    assert "(-1, 5)" in refused(points=[[[-1, 5]]], labels=[[1]])
    assert "(5, 1e300)" in refused(points=[[[5, 1e300]]], labels=[[1]]).replace("1" + 300 * "0", "1e300")


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ({"points": [[[9, 5]], [[1, 2], [3, 4]]], "labels": [[1], [1]]}, "labels[1] has 1 labels, but points[1] has 2"),
        ({"points": [[[9, 5]], None], "labels": [[1], None]}, "object 1 has no prompt"),
        ({"boxes": [[1, 2, 3, 4], None]}, "object 1 has no prompt"),
        ({"points": [[[9, 5]], [1, 2]], "labels": [[1], [1]]}, "points[1] has shape (2,), expected (p, 2)"),
        ({"boxes": [[1, 2, 3, 4], [1, 2]]}, "boxes[1] has shape (2,), expected (4)"),
        ({"points": [[[9, 5]], 2 * [["a", "b"]]], "labels": [[1], [1, 1]]}, "points[1] must be finite numbers, but is"),
        ({"points": [[[9, 5]], [[1, np.nan], [2, 2]]], "labels": [[1], [1, 1]]}, "points[1, 0, 1] is not"),
        (
            {"points": [[[9, 5]], [[1, 2], [300, 2]]], "labels": [[1], [1, 1]]},
            "of object 1: (300, 2) is outside",
        ),
        ({"points": [[[9, 5]], [[1, 2], [3, 2]]], "labels": [[1], [1, 7]]}, "labels[1, 1] is neither"),
        ({"points": [[[9, 5]], [[1, 2]]], "labels": [[1], [1]], "boxes": [None]}, "boxes has 1 objects (m)"),
        ({"mask_logits": [np.zeros((16, 16)), None]}, "mask_logits must be one array"),
    ],
)
def test_what_does_not_fit_is_named_by_its_object(prompts, sentence):
    assert sentence in refused(**prompts)
