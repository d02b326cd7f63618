"""The folder of masks: what is said to be saved is there, whoever asks twice, late, or at once."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.annotators import (
    HEIGHT,
    WIDTH,
    events_say,
    files_say,
    new_uuid,
    open_folder,
    rectangle,
    some_mask,
)
from PIL import Image

from data_pipelines.sa1b import prepare
from samjax.annotate.annotation_folder import EVENTS, open_annotations
from samjax.annotate.photo_list import open_photos
from samjax.annotate.refusals import ConflictError, InvalidMaskError, NotAllowedError, UnknownPhotoError
from samjax.annotate.saved_mask import MaskVerdict, Prompts, Source
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.masks.rle import decode, encode
from samjax.data.records.masks import decode_record
from samjax.data.stream.sources import is_sa1b_layout, open_source

OPENS = """
import sys
from samjax.annotate import photo_queue, work_figures
from samjax.annotate.annotation_folder import open_annotations
from samjax.annotate.photo_list import open_photos
open_annotations(sys.argv[2], open_photos(sys.argv[1:2], sys.argv[2]), {})
assert "jax" not in sys.modules, "JAX runs in a thread of its own, and stats needs none"
"""


@pytest.fixture
def folder(tmp_path):
    with open_folder(tmp_path) as folder:
        yield folder


def reopened(folder):
    folder.close()
    return open_annotations(folder.path, folder.photos, {})


def test_the_folder_is_a_training_source(folder, tmp_path):
    """The project's own reader drops nothing, and reads every mask and no more than that."""
    by_hand = {"source": Source.BRUSH, "model": None, "predicted_iou": None, "stability_score": None, "clicks": 0}
    committed = {
        0: [folder.commit(0, some_mask(seed)) for seed in range(3)],
        1: [folder.commit(1, some_mask(9, prompts=Prompts(), **by_hand))],
    }
    folder.delete(0, committed[0].pop(1).uuid, 1, annotator="ann")
    folder.finish(2, annotator="ann")
    assert is_sa1b_layout(str(folder.path))
    report = prepare(str(folder.path), tmp_path / "records")
    assert (report.records, report.dropped, report.masks) == (3, 0, 3)
    source = open_source(str(tmp_path / "records"), "train")
    records = {record.image_id: record for record in (decode_record(source[i]) for i in range(len(source)))}
    assert records.keys() == {0, 1, 2}
    assert not records[2].annotations
    for id, masks in committed.items():
        assert records[id].jpeg == folder.jpeg(id) == (folder.path / f"sa_{id}.jpg").read_bytes()
        for mask, annotation in zip(masks, records[id].annotations, strict=True):
            inside = decode(annotation.counts, height=HEIGHT, width=WIDTH)
            y, x = np.nonzero(inside)
            assert annotation.counts == mask.runs["counts"]
            assert (annotation.id, annotation.area) == (mask.id, inside.sum())
            box = (y.min() / HEIGHT, x.min() / WIDTH, y.max() / HEIGHT, x.max() / WIDTH)
            assert annotation.bbox == pytest.approx(box)
            assert annotation.crop_box == (0, 0, 1, 1)
    (brushed,) = records[1].annotations
    assert (brushed.predicted_iou, brushed.stability_score) == (1, 1)
    x, y = brushed.point
    assert decode(brushed.counts, height=HEIGHT, width=WIDTH)[int(y), int(x)]
    assert [annotation.point for annotation in records[0].annotations] == [(3.0, 4.5)] * 2
    assert [annotation.predicted_iou for annotation in records[0].annotations] == pytest.approx([0.9, 0.9])


def test_data_inspect_takes_the_folder(folder, tmp_path, capsys):
    for seed in range(6):
        folder.commit(seed % 2, some_mask(seed))
    arguments = ["data", "inspect", str(folder.path), "--out", str(tmp_path / "seen"), "--photos", "2"]
    assert main([*arguments, "--image-size", "32", "32"]) == 0
    assert "2 photos in a frame of 32 x 32, 6 masks; left out: none" in capsys.readouterr().out
    assert (tmp_path / "seen" / "batch.png").exists()


def test_photos_come_in_with_their_first_mask_and_stay_as_they_were(folder):
    assert not list(folder.path.glob("sa_*"))
    shown = folder.jpeg(0)
    folder.commit(0, some_mask())
    folder.photos[0].path.unlink()
    assert folder.jpeg(0) == shown
    folder.commit(0, some_mask(1))
    names = {path.name for path in folder.path.iterdir()}
    assert names == {".lock", "annotate", "annotate.json", "sa_0.jpg", "sa_0.json"}


def test_what_is_committed_is_read_again(folder):
    box = Prompts(points=((0.0, 0.0), (31.5, 24.0)), labels=(1, 0), box=(1.0, 2.0, 30.0, 20.0))
    given = [
        some_mask(0, prompts=box, source=Source.BOX),
        some_mask(1, source=Source.BRUSH, model=None, predicted_iou=None, stability_score=None, annotator="Zoë ☃"),
    ]
    saved = [folder.commit(0, mask) for mask in given]
    assert saved == [replace(mask, revision=1, id=place) for place, mask in enumerate(given)]
    assert folder.masks(0) == saved
    with reopened(folder) as again:
        assert again.masks(0) == saved
        assert again.masks(1) == []
    shown = json.loads(json.dumps([mask.as_json() for mask in saved]))
    assert shown[0]["prompts"] == {"points": [[0, 0], [31.5, 24]], "labels": [1, 0], "box": [1, 2, 30, 20]}
    assert shown[1]["predicted_iou"] is None


def test_adding_again_adds_nothing(folder):
    first = folder.commit(0, some_mask())
    before = files_say(folder.path), (folder.path / EVENTS).read_bytes()
    assert folder.commit(0, some_mask()) == first
    assert folder.commit(0, some_mask(place=7, annotator="bob")) == first  # the UUID is what counts
    assert (files_say(folder.path), (folder.path / EVENTS).read_bytes()) == before


def test_a_change_needs_the_current_revision(folder):
    first = folder.commit(0, some_mask(place=0))
    second = folder.commit(0, some_mask(place=1, annotator="bob"), revision=1)
    assert (second.revision, second.id, second.runs) == (2, first.id, rectangle(1))
    assert folder.commit(0, some_mask(place=1, annotator="bob"), revision=1) == second  # sent again
    for stale in (1, 3, 0):
        with pytest.raises(ConflictError, match="has revision 2, changed by bob") as conflict:
            folder.commit(0, some_mask(place=2), revision=stale)
        assert conflict.value.stored == second
    assert folder.masks(0) == [second]


def test_a_deleted_mask_comes_back_with_its_id_and_no_id_is_used_twice(folder):
    masks = [folder.commit(0, some_mask(seed)) for seed in range(3)]
    revision = folder.delete(0, masks[1].uuid, 1, annotator="bob")
    assert revision == folder.delete(0, masks[1].uuid, 1, annotator="bob") == 2  # sent again
    with pytest.raises(ConflictError, match="deleted") as conflict:
        folder.commit(0, some_mask(1), revision=1)
    assert conflict.value.stored is None
    assert folder.delete(0, masks[1].uuid, 7, annotator="eve") == 2  # what eve wants is so
    with reopened(folder) as again:
        assert again.masks(0) == [masks[0], masks[2]]
        fourth = again.commit(0, some_mask(3))
        assert again.commit(0, some_mask(1), revision=revision) == replace(masks[1], revision=3)
        again.delete(0, masks[1].uuid, 3, annotator="ann")
        with pytest.raises(ConflictError, match="deleted: revision 4 brings it back") as late:
            again.commit(0, some_mask(1))  # the first add, come late
        assert (late.value.stored, late.value.deleted) == (None, 4)
        assert again.commit(0, some_mask(1), revision=4).revision == 5
        assert [mask.id for mask in again.masks(0)] == [0, 1, 2, 3]
        assert fourth.id == 3


def test_a_mask_of_another_photo_has_another_id(folder):
    ids = [folder.commit(id, some_mask(seed)).id for id in folder.photos for seed in range(3)]
    assert ids == [100_000 * id + place for id in folder.photos for place in range(3)]


def test_another_person_judges_a_mask(folder):
    masks = [folder.commit(0, some_mask(seed)) for seed in range(3)]
    with pytest.raises(NotAllowedError, match="ann made this mask"):
        folder.judge(0, masks[0].uuid, MaskVerdict.YES, annotator="ann")
    good = folder.judge(0, masks[0].uuid, MaskVerdict.YES, annotator="bob")
    assert good == replace(masks[0], verdict=MaskVerdict.YES, verifier="bob")
    assert good.as_json()["verdict"] == "yes"
    for _ in range(2):
        assert folder.judge(0, masks[1].uuid, MaskVerdict.NO, annotator="bob") is None
    assert folder.judge(0, masks[2].uuid, MaskVerdict.REDO, annotator="bob").verdict is MaskVerdict.REDO
    with reopened(folder) as again:
        assert [mask.verdict for mask in again.masks(0)] == [MaskVerdict.YES, MaskVerdict.REDO]
        changed = again.commit(0, some_mask(2, place=5), revision=1)
        assert (changed.verdict, changed.verifier, changed.revision) == (None, None, 2)
        assert files_say(again.path) == events_say(again.path, again.photos)


def test_a_verdict_is_taken_back_by_who_gave_it_and_a_mask_that_it_deleted_is_there_again(folder):
    masks = [folder.commit(0, some_mask(seed)) for seed in range(3)]
    for mask, verdict in zip(masks, (MaskVerdict.YES, MaskVerdict.NO, MaskVerdict.REDO), strict=True):
        folder.judge(0, mask.uuid, verdict, annotator="bob")
        with pytest.raises(NotAllowedError, match="the verdict is bob's"):
            folder.judge(0, mask.uuid, MaskVerdict.OPEN, annotator="eve")
        back = folder.judge(0, mask.uuid, MaskVerdict.OPEN, annotator="bob")
        assert back == replace(mask, revision=3 if verdict is MaskVerdict.NO else 1)
        assert folder.judge(0, mask.uuid, MaskVerdict.OPEN, annotator="bob") == back
    with reopened(folder) as again:
        assert [mask.uuid for mask in again.masks(0)] == [mask.uuid for mask in masks]
        assert files_say(again.path) == events_say(again.path, again.photos)
        again.delete(0, masks[0].uuid, 1, annotator="ann")
        with pytest.raises(UnknownPhotoError, match="was deleted, not judged"):
            again.judge(0, masks[0].uuid, MaskVerdict.OPEN, annotator="bob")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"runs": encode(np.ones((HEIGHT, WIDTH + 1), bool))}, r"have the size \[24, 33\], the photo's is \[24, 32\]"),
        ({"runs": {"size": [HEIGHT, WIDTH], "counts": "0P1"}}, "cover 32 pixels but size says 24 x 32"),
        ({"runs": {"size": [HEIGHT, WIDTH], "counts": "0\x80"}}, "a character outside the code"),
        ({"runs": {"size": [HEIGHT, WIDTH], "counts": ""}}, "counts are empty"),
        ({"runs": {"size": [HEIGHT, WIDTH], "counts": [0, 768]}}, "compressed COCO run lengths"),
        ({"runs": {"size": [float(HEIGHT), WIDTH], "counts": "0"}}, "have the size"),
        ({"runs": {"counts": "0"}}, "compressed COCO run lengths"),
        ({"runs": encode(np.eye(HEIGHT, WIDTH) * np.arange(WIDTH) > 23 - 9)}, "has 9 pixels, fewer than 10"),
        ({"uuid": new_uuid(0).upper()}, "is no UUID4 in lower case"),
        ({"uuid": "../../etc/passwd"}, "is no UUID4 in lower case"),
        ({"annotator": ""}, "is no annotator's name"),
        ({"annotator": "a\nb"}, "is no annotator's name"),
        ({"seconds": -1.0}, "seconds is -1.0"),
        ({"active_seconds": float("nan")}, "active_seconds is nan"),
        ({"clicks": -1}, "clicks is -1"),
        ({"predicted_iou": float("inf")}, "predicted_iou is inf"),
        ({"model": None}, "give both or neither"),
        ({"stability_score": None}, "give both or neither"),
        ({"prompts": Prompts(points=((1.0, 1.0),))}, "1 points and 0 labels"),
        ({"prompts": Prompts(points=((1.0, 1.0),), labels=(2,))}, "labels are 1, foreground, or 0"),
        ({"prompts": Prompts(points=((33.0, 1.0),), labels=(1,))}, "outside the photo, 32 x 24"),
        ({"prompts": Prompts(box=(0.0, 0.0, float("nan"), 3.0))}, "is no place in the photo"),
    ],
)
def test_what_is_no_mask_of_the_photo_is_one_sentence_and_changes_nothing(folder, fields, sentence):
    folder.commit(0, some_mask(1))
    before = files_say(folder.path), (folder.path / EVENTS).read_bytes()
    with pytest.raises(InvalidMaskError, match=sentence):
        folder.commit(0, some_mask(**fields))
    with pytest.raises(InvalidMaskError, match=sentence):
        folder.commit(1, some_mask(**fields))
    assert (files_say(folder.path), (folder.path / EVENTS).read_bytes()) == before


def test_what_is_not_there_is_one_sentence(folder):
    folder.commit(0, some_mask())
    with pytest.raises(UnknownPhotoError, match="no photo with the id 12"):
        folder.commit(12, some_mask())
    with pytest.raises(UnknownPhotoError, match="photo 1 has no mask"):
        folder.delete(1, some_mask().uuid, 1, annotator="ann")
    with pytest.raises(UnknownPhotoError, match="photo 0 has no mask"):
        folder.judge(0, new_uuid(8), MaskVerdict.YES, annotator="bob")
    with pytest.raises(ConflictError, match=r"no mask .* with revision 1"):
        folder.commit(1, some_mask(), revision=1)
    for ask in (folder.masks, folder.jpeg, folder.proposals):
        with pytest.raises(UnknownPhotoError):
            ask(12)


def test_a_second_process_is_refused_until_the_first_is_gone(folder, tmp_path):
    other = [sys.executable, "-c", OPENS, str(tmp_path / "photos" / "*"), str(folder.path)]
    found = subprocess.run(other, capture_output=True, text=True, check=False)
    assert "is in use by another run" in found.stderr
    folder.close()
    found = subprocess.run(other, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("name", ["generate.json", "sa_1.json", "notes.txt"])
def test_a_folder_of_another_tool_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("{}")
    with pytest.raises(UserError, match=f"holds {name}, which samjax annotate did not write"):
        open_folder(tmp_path)
    photos = open_photos([str(tmp_path / "photos" / "*")], tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"holds {name}, which samjax annotate did not write"):
        open_annotations(tmp_path / "out", photos, {})
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_a_bucket_is_refused(folder):
    for ask in (lambda: open_annotations("gs://a/b", folder.photos, {}), lambda: open_photos(["*"], "gs://a/b")):
        with pytest.raises(UserError, match="gs://a/b is in a bucket: annotate to a folder on a disk"):
            ask()


def test_other_settings_are_refused(tmp_path):
    open_folder(tmp_path, guideline=1, sizes=(1, 2)).close()
    with pytest.raises(UserError, match="holds masks made with guideline 1, now it is 2"):
        open_folder(tmp_path, guideline=2, sizes=(1, 2))
    open_folder(tmp_path, guideline=1, sizes=(1, 2)).close()


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("annotate.json", "{", "annotate.json is damaged"),
        ("annotate.json", '{"version": 2, "settings": {}, "photos": {}}', "has version 2"),
        ("annotate.json", '{"version": 1, "settings": {}, "photos": {"/a": 1, "/b": 1}}', "one id to two"),
        ("annotate.json", '{"version": 1, "settings": {}, "photos": {"/a": "../1"}}', "ids that are no integers"),
        (EVENTS, None, "events.jsonl is gone, but sa_0.json is there"),
        (EVENTS, "", "events.jsonl is gone, but sa_0.json is there"),
        (EVENTS, "nonsense\n{}\n", "events.jsonl, line 1 is damaged"),
    ],
)
def test_a_damaged_folder_is_one_sentence(folder, tmp_path, file, content, sentence):
    folder.commit(0, some_mask())
    folder.close()
    if content is None:
        (folder.path / file).unlink()
    else:
        (folder.path / file).write_text(content)
    with pytest.raises(UserError, match=sentence):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    "damage", [None, "", "{}", '{"image": {}, "annotations": [{"id": 1}]}', "half", "old", "nonsense"]
)
@pytest.mark.parametrize("id", [0, 1])
def test_a_json_that_is_damaged_gone_or_old_is_made_again_from_the_events(folder, tmp_path, caplog, damage, id):
    path = folder.path / f"sa_{id}.json"
    for seed in range(4):
        folder.commit(seed % 2, some_mask(seed))
    old = path.read_text()
    folder.judge(id, some_mask(id).uuid, MaskVerdict.NO, annotator="bob")
    folder.commit(id, some_mask(5 + id))
    folder.commit(0, some_mask(9))
    before, masks, shown = files_say(folder.path), folder.masks(id), folder.jpeg(id)
    folder.close()
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder.photos[id].path)
    if damage is None:
        path.unlink()
    else:
        path.write_text({"half": before[id][:-9], "old": old}.get(damage, damage))
    with open_folder(tmp_path) as again:
        assert again.masks(id) == masks
        assert files_say(again.path) == before
        assert again.jpeg(id) == shown
    assert f"sa_{id}.json" in caplog.text


def test_photos_listed_for_another_folder_are_refused(folder, tmp_path):
    """Else one id would be two photos'."""
    folder.close()
    for path in (tmp_path / "photos").iterdir():
        path.rename(path.with_name(f"sa_{path.name}"))
    photos = open_photos([str(tmp_path / "photos" / "*")], tmp_path / "elsewhere")
    with pytest.raises(UserError, match="listed for another folder"):
        open_annotations(folder.path, photos, {})


def test_a_photo_holds_no_more_than_its_readers_read(folder, monkeypatch):
    monkeypatch.setattr("samjax.annotate.mask_acts._MOST_BYTES", 1_000)
    for seed in range(3):
        folder.commit(0, some_mask(seed))
    with pytest.raises(InvalidMaskError, match="it can hold no more like this"):
        folder.commit(0, some_mask(3))
    assert len(folder.masks(0)) == 3
