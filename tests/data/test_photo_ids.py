"""Ids of photos: each has one, they last, and a photo that is numbered keeps its number where it can."""

from hypothesis import given
from hypothesis import strategies as st

from samjax.data.photo_ids import IDS, MOST_MASKS, assign_ids, mask_id, photo_key

NAMES = st.sampled_from(
    ["sa_7.jpg", "7.png", "sa_007.jpg", "b.jpg", "caf\udce9.jpg", "sa_x7.jpg", f"{IDS}.jpg", "9.jpg"]
)
PATHS = st.lists(st.builds("/{}/{}".format, st.sampled_from("abc"), NAMES), max_size=12)


@given(first=PATHS, more=PATHS)
def test_ids_are_of_one_photo_each_and_last(first, more):
    before = assign_ids({}, first)
    after = assign_ids(before, more)
    assert before.keys() == set(first)
    assert after.keys() == {*first, *more}
    assert after.items() >= before.items()
    assert len(set(after.values())) == len(after)
    assert all(0 <= id < IDS for id in after.values())
    assert assign_ids(after, [*more, *first]) == after


@given(paths=PATHS)
def test_numbers_are_kept_and_order_does_not_matter_to_those_that_are_alone_with_theirs(paths):
    ids = assign_ids({}, paths)
    for number, names in ((7, ("sa_7.jpg", "7.png", "sa_007.jpg")), (9, ("9.jpg",))):
        numbered = {path for path in paths if path.rsplit("/", 1)[1] in names}
        if numbered:
            assert [path for path in numbered if ids[path] == number]
        if len(numbered) == 1:
            assert assign_ids({}, paths[::-1])[numbered.pop()] == number


def test_masks_of_two_photos_share_no_id(tmp_path, monkeypatch):
    assert mask_id(3, MOST_MASKS - 1) < mask_id(4, 0)
    monkeypatch.chdir(tmp_path)
    assert photo_key("a.jpg") == str(tmp_path / "a.jpg")
