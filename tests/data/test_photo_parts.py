"""Every photo is in one part, the same on every machine; parts of different lists are told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samjax.core.errors import UserError
from samjax.data.photo_parts import ListDigest, Part, check_same_list, parse_part, part_folders

KEYS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=20, unique=True)


@given(keys=KEYS, total=st.integers(1, 9))
def test_each_photo_is_in_one_part(keys, total):
    parts = [Part(number=number, total=total) for number in range(1, total + 1)]
    assert all([part.has(key) for part in parts].count(True) == 1 for key in keys)


def test_the_part_of_a_photo_is_the_same_everywhere():
    """Written down: another machine, or another version of Python, must not deal photos anew."""
    keys = ["/data/a.jpg", "gs://bucket/sa_000000.tar/sa_1.jpg", "/data/caf\udce9.jpg", "/data/ä.png"]
    dealt = [next(number for number in range(1, 17) if Part(number=number, total=16).has(key)) for key in keys]
    assert dealt == [3, 8, 14, 16]


def test_parts_are_of_about_one_size():
    keys = [f"/data/sa_{number}.jpg" for number in range(8_000)]
    counts = [sum(Part(number=number, total=8).has(key) for key in keys) for number in range(1, 9)]
    assert sum(counts) == len(keys)
    assert min(counts) > 880  # four standard deviations
    assert max(counts) < 1120


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1/0", "-1/4", "1", "1/4/2", "1.5/4", "a/b", "1/ 4"])
def test_what_names_no_part_is_refused(text):
    with pytest.raises(UserError, match="give I/N, as in 3/16"):
        parse_part(text)
    assert parse_part("3/16") == Part(number=3, total=16)


def test_folders_of_parts_are_found_in_order_and_of_one_total(tmp_path):
    assert part_folders(tmp_path / "missing") == {}
    for name in ("part-00010-of-00012", "part-00002-of-00012", "part-2-of-12", "other"):
        (tmp_path / name).mkdir()
    assert [part.number for part in part_folders(tmp_path)] == [2, 10]
    (tmp_path / "part-00001-of-00003").mkdir()
    with pytest.raises(UserError, match="holds parts of 3 and of 12 parts"):
        part_folders(tmp_path)


@given(keys=KEYS, more=st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_list_is_told_from_another_and_not_by_its_order(keys, more):
    digest = ListDigest.of(keys)
    assert ListDigest.of(keys[::-1]) == digest
    assert ListDigest.from_json(digest.to_json()) == digest
    if more not in keys:
        assert ListDigest.of([*keys, more]) != digest


def test_another_list_is_refused_in_a_sentence(tmp_path):
    before, now = ListDigest.of(["/a", "/b", "/d"]), ListDigest.of(["/a", "/c", "/d"])
    check_same_list(before, before, folder=tmp_path)
    with pytest.raises(
        UserError, match=r"a list of 3 photos, /a to /d; --images lists .*, some of others between them"
    ):
        check_same_list(before, now, folder=tmp_path)
    with pytest.raises(UserError, match="lists 1 photos, /z to /z: parts belong together"):
        check_same_list(before, ListDigest.of(["/z"]), folder=tmp_path)
