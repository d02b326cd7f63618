"""A handle names the logits it was given for, or is refused with what to do."""

import tracemalloc

import numpy as np
import pytest

from samjax.annotate.kept_answers import Answer, KeptAnswers
from samjax.core.errors import UserError


def answer(photo_id: int = 5, *, masks: int = 1, value: float = 0.0) -> Answer:
    figures = np.linspace(0.9, 0.5, masks, dtype=np.float32)
    logits = np.full((masks, 4, 4), value, np.float32)
    return Answer(photo_id=photo_id, logits=logits, iou=figures)


def add(kept: KeptAnswers, annotator: str = "a", *, is_hover: bool = False, **fields) -> str:
    return kept.add(annotator, answer(**fields), is_hover=is_hover)[0]


def test_each_mask_has_a_handle_of_its_own():
    kept = KeptAnswers()
    first, second = (kept.add("a", answer(masks=3, value=value), is_hover=False) for value in (1.0, 2.0))
    assert len({*first, *second}) == 6
    for handles, value in ((first, 1.0), (second, 2.0)):
        for k, handle in enumerate(handles):
            found, place = kept.find(handle, photo_id=5)
            assert (place, found.logits[k, 0, 0]) == (k, value)


def test_the_answers_used_longest_ago_go_first():
    kept = KeptAnswers(clicks=3)
    handles = [add(kept) for _ in range(3)]
    kept.find(handles[0], photo_id=5)
    add(kept)
    kept.find(handles[0], photo_id=5)
    with pytest.raises(UserError, match=r"is gone: only the last 3 answers .* click again"):
        kept.find(handles[1], photo_id=5)
    assert len(kept) == 3


def test_moving_the_mouse_drops_no_click():
    kept = KeptAnswers(clicks=2, hovers=1)
    click = add(kept)
    hovers = [add(kept, is_hover=True) for _ in range(50)]
    kept.find(click, photo_id=5)
    with pytest.raises(UserError, match="is gone"):
        kept.find(hovers[0], photo_id=5)
    kept.find(hovers[-1], photo_id=5)
    add(kept, is_hover=True)
    kept.find(hovers[-1], photo_id=5)


def test_annotators_drop_nothing_of_each_other():
    kept = KeptAnswers(clicks=1, annotators=2)
    ours = add(kept, "a")
    for _ in range(5):
        add(kept, "b")
    kept.find(ours, photo_id=5)


def test_memory_has_a_bound_whatever_names_requests_come_under():
    kept = KeptAnswers(clicks=4, hovers=2, annotators=3)
    first = add(kept, "0")
    for number in range(100):
        for is_hover in (False, True) * 5:
            add(kept, str(number), is_hover=is_hover)
    assert len(kept) == 3 * (4 + 2)
    with pytest.raises(UserError, match="is gone"):
        kept.find(first, photo_id=5)


def test_memory_is_flat():
    kept = KeptAnswers(clicks=8, hovers=2, annotators=2)

    def work(times: int) -> int:
        for number in range(times):
            handle = add(kept, str(number % 5), is_hover=number % 3 == 0)
            kept.find(handle, photo_id=5)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = work(500)
        assert work(5000) < before + 20_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda handle: handle[::-1], "is no handle of a candidate|from before the server was started again"),
        (lambda handle: handle.rsplit(".", 1)[0], "is no handle"),
        (lambda handle: handle + ".0", "is no handle"),
        (lambda handle: handle + "\u0662", "is no handle"),
        (lambda handle: handle.rsplit(".", 1)[0] + ".-1", "is no handle"),
        (lambda handle: handle.rsplit(".", 1)[0] + "." + "9" * 400, "is no handle"),
        (lambda handle: handle.rsplit(".", 1)[0] + ".3", "names no mask: the answer has 3"),
        (lambda handle: "", "is no handle"),
        (lambda handle: "0000" + handle[4:] if handle[:4] != "0000" else "1111" + handle[4:], "was started again"),
    ],
)
def test_what_is_no_handle_is_refused(change, sentence):
    kept = KeptAnswers()
    handle = kept.add("a", answer(masks=3), is_hover=False)[0]
    with pytest.raises(UserError, match=sentence):
        kept.find(change(handle), photo_id=5)


def test_a_handle_is_of_its_photo():
    kept = KeptAnswers()
    with pytest.raises(UserError, match="is of photo 5, not of photo 6"):
        kept.find(add(kept), photo_id=6)


def test_a_handle_from_before_a_restart_names_nothing():
    before, after = KeptAnswers(), KeptAnswers()
    handle = add(before)
    add(after)
    with pytest.raises(UserError, match="from before the server was started again: click again"):
        after.find(handle, photo_id=5)
