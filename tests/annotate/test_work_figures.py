"""Figures of the work: what people did, counted and timed, from the events alone."""

import json
from dataclasses import replace

import pytest
from helpers.annotators import agree, open_folder, some_mask, some_proposals
from PIL import Image

from samjax.annotate.annotation_folder import open_annotations
from samjax.annotate.photo_list import open_photos
from samjax.annotate.proposal import ProposalState
from samjax.annotate.saved_mask import Effort, MaskVerdict, Source
from samjax.annotate.work_figures import Average, work_figures
from samjax.annotate.work_plot import draw_work
from samjax.core.errors import UserError

BRUSH = {"source": Source.BRUSH, "model": None, "predicted_iou": None, "stability_score": None, "clicks": 0}


@pytest.fixture
def out(tmp_path):
    """Ann commits masks of 30, 29, ... seconds, bob brushes two, a proposal is accepted, one mask deleted."""
    open_folder(tmp_path, 4).close()
    photos = open_photos([str(tmp_path / "photos" / "*")], tmp_path / "out")
    time = iter(range(10**6))
    with open_annotations(tmp_path / "out", photos, {}, now=lambda: float(next(time))) as folder:
        for seed in range(20):
            folder.commit(seed % 2, some_mask(seed, seconds=30.0 - seed, active_seconds=10.0, clicks=seed % 3))
        for seed in (20, 21):
            folder.commit(2, some_mask(seed, annotator="bob", seconds=8.0, active_seconds=4.0, **BRUSH))
        folder.commit(2, some_mask(21, annotator="bob", seconds=10.0, active_seconds=5.0, **BRUSH), revision=1)
        folder.delete(0, some_mask(0).uuid, 1, annotator="ann")
        folder.set_proposals(2, some_proposals(0.9, 0.8, 0.7), model="vit_l")
        folder.accept(2, {0: 0}, annotator="ann", seconds=1.0)
        folder.set_state(2, 1, ProposalState.REJECTED, revision=0, annotator="ann")
        folder.judge(2, some_mask(20).uuid, MaskVerdict.YES, annotator="ann")
        folder.finish(3, annotator="ann")
        yield folder.path


def test_masks_are_counted_as_the_folder_has_them(out):
    figures = work_figures(out)
    on_disk = [mask for path in out.glob("sa_*.json") for mask in json.loads(path.read_text())["annotations"]]
    assert figures.masks == len(on_disk) == 22
    assert (figures.photos, figures.photos_with_masks, figures.finished_photos) == (4, 3, 1)
    assert figures.masks_per_photo == Average(mean=5.5, median=6.0)  # 9, 10, 3 and 0
    assert {name: group.masks for name, group in figures.by_source.items()} == {"clicks": 19, "brush": 2, "proposal": 1}
    assert {name: group.masks for name, group in figures.by_annotator.items()} == {"ann": 20, "bob": 2}
    assert {name: group.masks for name, group in figures.by_model.items()} == {"vit_b": 19, "none": 2, "vit_l": 1}
    assert figures.by_source["clicks"].share == 19 / 22
    assert figures.proposals == {"open": 1, "accepted": 1, "rejected": 1, "changed": 0}
    assert figures.verdicts == {"yes": 1, "no": 0, "redo": 0}
    assert figures.acts["add"] == 22
    assert figures.acts["change"] == figures.acts["delete"] == 1


def test_seconds_are_those_that_people_took(out):
    """Of a changed mask all of them; of an accepted proposal none, as in Segment Anything."""
    figures = work_figures(out)
    brushed = figures.by_annotator["bob"]
    assert brushed.seconds == Average(mean=9.0, median=9.0)
    assert brushed.active_seconds == Average(mean=4.5, median=4.5)
    seconds = [*range(11, 30), 8, 10]
    assert figures.all_masks.seconds == Average(mean=sum(seconds) / 21, median=float(sorted(seconds)[10]))
    assert figures.by_source["proposal"].seconds is None
    over_time = figures.seconds_over_time
    assert [one.count for one in over_time] == [5, 10, 16, 21]
    means = [one.value.mean for one in over_time]
    assert means == sorted(means, reverse=True)
    assert means[0] == 27  # 29 to 25
    assert [one.count for one in figures.masks_over_time] == [4]


def test_what_people_did_for_a_mask_is_that_of_all_its_commits(tmp_path):
    """Deleted masks, accepted proposals and masks whose page told nothing are in no figure; reading shows no effort."""
    with open_folder(tmp_path) as folder:
        for seed in range(3):
            effort = Effort(first_seconds=1.0 + seed, boxes=seed, undos=2, decode_ms=(40.0,) * 9 + (100.0,))
            stored = folder.commit(0, some_mask(seed, effort=effort))
            assert stored == folder.masks(0)[-1]
        more = Effort(since=1, first_seconds=9.0, strokes=4, decode_ms=(60.0,))
        assert folder.commit(0, some_mask(0, place=50, effort=more), revision=1).effort is None
        folder.delete(0, some_mask(2).uuid, 1, annotator="ann")
        folder.commit(0, some_mask(5))
        assert agree(folder)
        found = work_figures(folder.path).effort
    assert (found.masks, found.decodes) == (2, 21)
    assert (found.first_seconds, found.boxes) == (Average(mean=1.5, median=1.5), Average(mean=0.5, median=0.5))
    assert (found.strokes, found.undos) == (Average(mean=2.0, median=2.0), Average(mean=2.0, median=2.0))
    assert found.decode_ms is not None
    assert (found.decode_ms.mean, found.decode_ms.median) == (pytest.approx((18 * 40 + 60 + 200) / 21), 40.0)
    assert found.slow_decode_ms == 100.0
    assert "decode_ms" not in (tmp_path / "out" / "sa_0.json").read_text()


def test_what_is_sent_again_counts_each_second_and_click_once(tmp_path):
    """A page asks again where no answer came, undoes and redoes: the last commit says what the mask took in all."""
    first = Effort(first_seconds=1.5, boxes=1, decode_ms=(40.0, 50.0))
    added = some_mask(seconds=10.0, active_seconds=8.0, clicks=3, effort=first)
    more = replace(first, strokes=2, undos=1, decode_ms=(40.0, 50.0, 60.0))
    changed = some_mask(place=5, seconds=15.0, active_seconds=12.0, clicks=4, effort=more)
    other = replace(changed, annotator="bob", seconds=18.0, effort=Effort(since=8, undos=3, decode_ms=(70.0,)))

    def figures(folder):
        found = work_figures(folder.path)
        group, effort = found.all_masks, found.effort
        return group.seconds.mean, group.active_seconds.mean, group.clicks.mean, effort.undos.mean, effort.decodes

    with open_folder(tmp_path) as folder:
        folder.commit(0, added)
        once = figures(folder)
        assert once == (10.0, 8.0, 3.0, 0.0, 2)
        folder.commit(0, added, revision=1)  # a deletion was undone that the server never heard of
        assert figures(folder) == once
        for revision in (2, 2):
            folder.commit(0, changed, revision=revision)
        twice = figures(folder)
        assert twice == (15.0, 12.0, 4.0, 1.0, 3)
        folder.commit(0, added, revision=3)  # undone
        assert figures(folder) == once
        folder.commit(0, changed, revision=4)  # redone
        folder.delete(0, added.uuid, 5, annotator="ann")
        folder.commit(0, changed, revision=6)
        assert figures(folder) == twice
        folder.commit(0, replace(other, seconds=15.0, effort=Effort(since=7)), revision=7)  # undone by bob
        assert figures(folder) == twice
        for revision, mask in enumerate((other, changed, other), 8):
            effort = mask.effort if mask is other else Effort(since=8)
            folder.commit(0, replace(mask, effort=effort), revision=revision)
        assert figures(folder) == (18.0, 12.0, 4.0, 4.0, 4)


def test_figures_are_json_and_a_picture(out, tmp_path):
    figures = work_figures(out)
    assert json.loads(json.dumps(figures.as_json()))["by_annotator"]["bob"]["seconds"] == {"mean": 9.0, "median": 9.0}
    draw_work(tmp_path / "work.png", figures)
    with Image.open(tmp_path / "work.png") as picture:
        assert picture.width > 1_000


def test_a_folder_without_work_has_figures_too(tmp_path):
    with open_folder(tmp_path):
        figures = work_figures(tmp_path / "out")
    assert (figures.masks, figures.masks_per_photo, figures.all_masks.seconds) == (0, None, None)
    assert (figures.effort.masks, figures.effort.boxes, figures.effort.slow_decode_ms) == (0, None, None)
    draw_work(tmp_path / "work.png", figures)


def test_what_is_no_annotation_folder_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"has no annotate\.json"):
        work_figures(tmp_path / "nothing")
    (tmp_path / "generate.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds generate\.json"):
        work_figures(tmp_path)
