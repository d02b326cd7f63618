"""Which photos are held out."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.holdout import Splits
from samjax.core.errors import UserError

PART = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
PATHS = st.lists(st.lists(PART, min_size=1, max_size=3).map("/".join), max_size=20)
SHARE = st.floats(0, 1, exclude_min=True, exclude_max=True)


def held_out(photos, share):
    splits = Splits(holdout=share)
    return {photo for photo in photos if splits.split_of(photo) == "val"}


@given(PATHS, PATHS, SHARE, st.randoms())
@settings(max_examples=100)
def test_a_photo_is_in_one_split_whatever_else_is_there(photos, others, share, random):
    """Also where two folders hold photos of one name."""
    photos = [*photos, *(f"copy/{photo}" for photo in photos)]
    found = held_out(photos, share)
    shuffled = [*photos, *others]
    random.shuffle(shuffled)
    assert held_out(shuffled, share) & set(photos) == found
    assert {Splits(holdout=share).split_of(photo) for photo in set(photos) - found} <= {"train"}


@given(PATHS, SHARE, SHARE)
@settings(max_examples=100)
def test_a_larger_share_holds_out_the_same_photos_and_more(photos, one, other):
    assert held_out(photos, min(one, other)) <= held_out(photos, max(one, other))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_the_share_is_that_of_the_photos(share):
    """Numbered photos, in folders or not: within three standard deviations of a fair draw."""
    for pattern in ("{}.png", "{}/image.png", "cells/{:06d}.tif"):
        count = len(held_out([pattern.format(number) for number in range(10_000)], share))
        assert abs(count - 10_000 * share) < 3 * (10_000 * share * (1 - share)) ** 0.5


def test_splits_are_the_same_on_every_platform_and_in_every_version():
    """If this changes, the photos that people hold out change."""
    names = [f"cells/{number:02d}.png" for number in range(40)]
    assert held_out(names, 0.1) == GOLDEN
    accented = "Zürich/café.png"
    assert len({Splits(holdout=0.5).split_of(unicodedata.normalize(form, accented)) for form in ("NFC", "NFD")}) == 1
    assert Splits(holdout=0.5).split_of("not utf-8 \udcff.png") in ("train", "val")


GOLDEN = {"cells/00.png", "cells/06.png", "cells/13.png", "cells/27.png"}


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_share_of_none_or_all_is_refused(share):
    with pytest.raises(UserError, match="above 0 and below 1"):
        Splits(holdout=share)


def test_only_a_split_for_training_goes_without_photos_without_objects():
    assert Splits().trains("train")
    assert Splits(name="train_2").trains("train_2")
    assert not Splits(name="test").trains("test")
    mine = Splits(name="mine", holdout=0.1)
    assert mine.names == ("mine", "val")
    assert mine.trains("mine")
    assert not mine.trains("val")
    with pytest.raises(UserError, match="--split is val"):
        Splits(name="val", holdout=0.1)
