from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from samjax.data.annotations.dataset import Dataset, Instance, Photo
from samjax.data.annotations.subset import sample
from samjax.data.masks import rle

MASK = rle.encode(np.ones((1, 1), bool))


def photo(number, masks, *, crowds=0):
    instances = tuple(Instance(id=0, segmentation=MASK, crowd=place < crowds) for place in range(masks + crowds))
    return Photo(id=number, name=f"{number}.jpg", height=1, width=1, instances=instances, read=lambda: MASK)


def dataset(photos):
    return Dataset(name="x", photos=photos, categories={})


counts = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=30)


@given(counts, st.integers(0, 60), st.integers(1, 60))
def test_whole_photos_are_drawn_until_there_are_enough(counts, most, enough):
    whole = dataset([photo(number, masks, crowds=crowds) for number, (masks, crowds) in enumerate(counts)])
    drawn = sample(whole, most=most, enough=enough)
    if whole.masks <= most:
        assert drawn is whole
        return
    assert [one for one in whole.photos if one in drawn.photos] == list(drawn.photos)
    assert drawn.masks >= min(enough, whole.masks)
    largest = max(masks for masks, _ in counts)
    assert drawn.masks < enough + largest


def test_the_draw_is_the_same_everywhere():
    """Another order of files or numbers draws the same photos; figures of old would not compare if this changed."""
    photos = [photo(number, 2) for number in range(1, 11)]
    drawn = sample(dataset(photos), most=5, enough=6)
    assert [one.name for one in drawn.photos] == ["2.jpg", "3.jpg", "4.jpg"]
    turned = [replace(one, id=100 - one.id) for one in photos[::-1]]
    assert {one.name for one in sample(dataset(turned), most=5, enough=6).photos} == {one.name for one in drawn.photos}


def test_a_photo_more_or_less_does_not_draw_others():
    photos = [photo(number, 1) for number in range(200)]
    before = {one.name for one in sample(dataset(photos), most=50, enough=50).photos}
    after = {one.name for one in sample(dataset(photos[1:]), most=50, enough=50).photos}
    assert len(before & after) >= 49


def test_another_seed_draws_other_photos():
    photos = [photo(number, 1) for number in range(200)]
    one, other = (sample(dataset(photos), most=50, enough=50, seed=seed) for seed in (0, 1))
    assert one.photos != other.photos
