"""Annotated photos become records that train, whatever format they come in."""

import json
import pickle

import numpy as np
import pytest
from helpers.made_annotations import ANNOTATIONS, rectangles, write_formats
from PIL import Image
from streams import mask_stream

from data_pipelines import annotated_photos, folder_units, local_run
from data_pipelines.annotated_photos import prepare
from data_pipelines.annotated_units import box_of_runs
from data_pipelines.holdout import Splits
from data_pipelines.preparation import LocalRun
from data_pipelines.verify import verify
from samjax.core.errors import UserError
from samjax.data.annotations.formats import Format
from samjax.data.annotations.sa1b_records import read_sa1b
from samjax.data.masks import rle
from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
from samjax.data.records.masks import decode_record
from samjax.data.stream.loader import validation_batches
from samjax.data.stream.sources import open_source

SERIAL = LocalRun(workers=1)
HALF = Splits(holdout=0.5)
CORNERS = ((2, 3, 10, 9), (12, 3, 20, 30), (0, 11, 9, 32))
PHOTOS = {f"{folder}/{number}.png": rectangles(*CORNERS[: 1 + number % 3]) for folder in "ab" for number in range(4)}
EMPTY = [f"z/{number}.png" for number in range(6)]
ALL = {**PHOTOS, **{name: [] for name in EMPTY}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_formats(folder, ALL)
    return folder


def run(folder, out, *, format=Format.COCO, splits=HALF, **options):
    if format is Format.INSTANCE_PNGS:
        options = {"allow_unannotated": True, **options}
    return prepare(
        str(folder / ANNOTATIONS[format]),
        out,
        images=folder / "images",
        format=format,
        splits=splits,
        run=SERIAL,
        **options,
    )


def records(folder, split):
    source = open_source(str(folder), split)
    return [decode_record(source[index]) for index in range(len(source))]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def prepared_coco(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "coco"
    return out, run(made, out)


@pytest.mark.parametrize("format", ANNOTATIONS)
def test_the_same_objects_give_the_same_records_in_every_format(made, prepared_coco, tmp_path, format):
    report = run(made, tmp_path / "out", format=format)
    for split in HALF.names:
        assert records(tmp_path / "out", split) == records(prepared_coco[0], split)
    expected = prepared_coco[1]
    assert (report.records, report.masks, report.area) == (expected.records, expected.masks, expected.area)
    assert (report.without_masks, report.left_out) == (expected.without_masks, expected.left_out)
    assert verify(str(tmp_path / "out")).problems == ()


def test_records_hold_what_was_drawn(made, prepared_coco):
    found = {}
    for split in HALF.names:
        for record in records(prepared_coco[0], split):
            assert HALF.split_of(record.file_name) == split
            assert record.file_name not in found
            found[record.file_name] = record
    assert PHOTOS.keys() < found.keys()
    assert [found[name].image_id for name in sorted(found)] == [
        number for number, name in enumerate(sorted(ALL), 1) if name in found
    ]
    ids = iter(range(1, 100))
    for name, masks in PHOTOS.items():
        record = found[name]
        assert record.jpeg == (made / "images" / name).read_bytes()
        for annotation, mask in zip(record.annotations, masks, strict=True):
            np.testing.assert_array_equal(rle.decode(annotation.counts, height=24, width=32), mask)
            assert annotation.area == mask.sum()
            assert annotation.id == next(ids)
            assert annotation.crop_box == (0, 0, 1, 1)
            assert annotation.predicted_iou == annotation.stability_score == 1
            x, y = annotation.point
            assert mask[int(y), int(x)]
            rows, columns = np.nonzero(mask)
            box = (rows.min() / 24, columns.min() / 32, rows.max() / 24, columns.max() / 32)
            np.testing.assert_allclose(annotation.bbox, box)


def test_photos_without_objects_stay_for_validation_alone(prepared_coco):
    out, report = prepared_coco
    held_out = [name for name in EMPTY if HALF.split_of(name) == "val"]
    assert 0 < len(held_out) < len(EMPTY)
    assert all(record.annotations for record in records(out, "train"))
    assert [record.file_name for record in records(out, "val") if not record.annotations] == held_out
    assert report.without_masks == len(held_out)
    assert report.left_out == {annotated_photos.WITHOUT_OBJECTS: len(EMPTY) - len(held_out)}
    text = report.text()
    assert f"{len(EMPTY) - len(held_out)} {annotated_photos.WITHOUT_OBJECTS} were left out" in text
    assert f"  val: {len(records(out, 'val'))} photos with" in text


def test_a_split_of_its_own_keeps_them_unless_it_is_for_training(made, tmp_path):
    assert run(made, tmp_path / "val", splits=Splits(name="val")).without_masks == len(EMPTY)
    assert run(made, tmp_path / "train", splits=Splits()).without_masks == 0


def test_records_without_masks_are_read_by_training_validation_and_evaluation(prepared_coco, caplog):
    """Validation says so in one line, at every pass."""
    out, _ = prepared_coco
    caplog.set_level("INFO", "samjax")
    config = MaskDataConfig(source=str(out), max_masks=4, threads=2)
    stream = mask_stream(config, image_size=(16, 16), batch_size=4, seed=0)
    batch = next(stream)
    stream.close()
    assert (batch.record_id >= 0).all()
    assert batch.mask_valid.any(axis=1).all()
    val = MaskDataConfig(source=str(out), split="val", max_masks=4, threads=2)
    maker = MaskExamples(val, image_size=(16, 16), augment=False)
    ids = np.concatenate([batch.record_id for batch in validation_batches(val, maker, batch_size=1)])
    held_out = records(out, "val")
    empty = sum(not record.annotations for record in held_out)
    (line,) = (line.getMessage() for line in caplog.records if "no usable mask" in line.getMessage())
    assert line.startswith(f"Of {len(held_out)} records {empty} give no example; their rows stay empty. The first is ")
    assert ids.tolist() == [record.image_id if record.annotations else -1 for record in held_out]
    dataset = read_sa1b(str(out), name="made", split="val", allow_unannotated=True)
    assert [photo.name for photo in dataset.photos] == [one.file_name for one in held_out if one.annotations]
    for photo, record in zip(dataset.photos, (one for one in held_out if one.annotations), strict=True):
        assert photo.read().shape == (record.height, record.width, 3)


def test_boxes_of_runs_are_those_of_pixels():
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 9, 2)
        mask = rng.random((height, width)) < rng.choice([0.1, 0.5, 0.95])
        if mask.any():
            runs = rle.parse_runs(rle.encode(mask)["counts"], height=int(height), width=int(width))
            rows, columns = np.nonzero(mask)
            assert box_of_runs(runs, height=int(height)) == (rows.min(), columns.min(), rows.max(), columns.max())


@pytest.mark.parametrize("write", ["addresses", "absolute paths", "Windows"])
def test_however_a_json_names_its_photos_their_split_is_that_of_their_path(own, prepared_coco, tmp_path, write):
    """LVIS gives addresses."""

    def rename(content):
        for image in content["images"]:
            name = image.pop("file_name")
            named = {
                "addresses": {"coco_url": f"http://images.example/{name}"},
                "absolute paths": {"file_name": str(own / "images" / name)},
                "Windows": {"file_name": name.replace("/", "\\")},
            }
            image.update(named[write])

    change(own / "coco.json", rename)
    run(own, tmp_path / "out")
    for split in HALF.names:
        assert records(tmp_path / "out", split) == records(prepared_coco[0], split)


# Interruptions


class StoppedError(Exception):
    pass


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of two photos, and the names of those that were made; `stop_after` raises after so many."""
    made, make_shard = [], local_run.make_shard
    monkeypatch.setattr(folder_units, "PHOTOS_A_SHARD", 2)

    def counted(unit, *arguments, **named):
        if len(made) == counted.stop_after:
            raise StoppedError
        made.append(unit.first)
        return make_shard(pickle.loads(pickle.dumps(unit)), *arguments, **named)  # as other processes get it

    counted.stop_after, counted.made = None, made
    monkeypatch.setattr(local_run, "make_shard", counted)
    return counted


@pytest.fixture
def own(made, tmp_path):
    """The made data, to change."""
    write_formats(tmp_path / "own", ALL)
    return tmp_path / "own"


def stop_after(small_shards, count, folder, out):
    small_shards.stop_after = count
    with pytest.raises(StoppedError):
        run(folder, out)
    small_shards.stop_after = None
    small_shards.made.clear()


def test_an_interrupted_preparation_goes_on_and_gives_the_same_bytes(own, tmp_path, small_shards):
    run(own, tmp_path / "whole")
    total = len(small_shards.made)
    assert total > 4
    small_shards.made.clear()
    stop_after(small_shards, 2, own, tmp_path / "out")
    assert not (tmp_path / "out/dataset_info.json").exists()
    run(own, tmp_path / "out")
    assert len(small_shards.made) == total - 2
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    small_shards.made.clear()
    run(own, tmp_path / "out")
    assert small_shards.made == []


def test_annotations_that_changed_meanwhile_are_read_again(own, tmp_path, small_shards, caplog):
    stop_after(small_shards, 3, own, tmp_path / "out")
    change(own / "coco.json", lambda content: content["annotations"].pop(0))
    run(own, tmp_path / "out")
    assert "changed since they were prepared: done again" in caplog.text
    run(own, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    change(own / "coco.json", lambda content: content["annotations"].pop(0))
    with pytest.raises(UserError, match="images changed"):
        run(own, tmp_path / "out")


def test_another_holdout_is_not_mixed_in(own, tmp_path, small_shards):
    stop_after(small_shards, 2, own, tmp_path / "out")
    with pytest.raises(
        UserError, match=r"begun as coco annotations, 0\.5 held out, but.* as coco annotations, 0\.4 held out"
    ):
        run(own, tmp_path / "out", splits=Splits(holdout=0.4))
    run(own, tmp_path / "out")
    with pytest.raises(UserError, match=r"0\.5 held out, not as coco annotations, 0\.4 held out"):
        run(own, tmp_path / "out", splits=Splits(holdout=0.4))


# Bad input


def test_missing_photos_are_refused_or_counted(own, tmp_path):
    def rename(content):
        for image in content["images"]:
            if image["file_name"] in ("a/1.png", "b/2.png"):
                image["file_name"] = image["file_name"].replace(".png", "_gone.png")

    change(own / "coco.json", rename)
    message = r"2 images whose photo is missing \(a/1_gone.png, b/2_gone.png\).*--allow-missing"
    with pytest.raises(UserError, match=message):
        run(own, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = run(own, tmp_path / "out", splits=Splits(), allow_missing=True)
    assert report.left_out["images whose photo is missing"] == 2
    names = {record.file_name for record in records(tmp_path / "out", "train")}
    assert PHOTOS.keys() - names == {"a/1.png", "b/2.png"}


def test_a_photo_that_breaks_off_is_dropped_and_named(own, tmp_path):
    path = own / "images/a/1.png"
    path.write_bytes(path.read_bytes()[:400])
    report = run(own, tmp_path / "out")
    assert report.reasons == {"broken photo": 1}
    assert report.examples[0].startswith("images/: a/1.png: PNG cannot be decoded")


def test_crowds_and_masks_without_a_pixel_are_counted(own, tmp_path):
    def edit(content):
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"][1]["segmentation"] = {"size": [24, 32], "counts": [24 * 32]}

    change(own / "coco.json", edit)
    report = run(own, tmp_path / "out")
    assert (report.left_out["crowds"], report.left_out["masks without a pixel"]) == (1, 1)
    assert report.left_out["photos without a mask that can be used"] == 1
    assert report.masks == sum(map(len, PHOTOS.values())) - 2


def test_a_holdout_that_leaves_a_split_empty_is_refused(own, tmp_path):
    with pytest.raises(
        UserError, match=r"none of the 8 photos with objects falls into the split val.*--holdout than 1e-09"
    ):
        run(own, tmp_path / "out", splits=Splits(holdout=1e-9))


def test_annotations_without_objects_are_refused(own, tmp_path):
    change(own / "coco.json", lambda content: content["annotations"].clear())
    with pytest.raises(UserError, match="no object that can be used"):
        run(own, tmp_path / "out")


def test_ids_that_records_cannot_hold_are_numbered(own, tmp_path, caplog):
    def edit(content):
        for image in content["images"]:
            image["id"] += 2**40
        for place, annotation in enumerate(content["annotations"]):
            annotation["image_id"] += 2**40
            annotation["id"] = 2**70 + place

    change(own / "coco.json", edit)
    run(own, tmp_path / "large")
    assert caplog.text.count("are numbered from 1") == 2
    write_formats(own, ALL)
    run(own, tmp_path / "small")
    for split in HALF.names:
        assert records(tmp_path / "large", split) == records(tmp_path / "small", split)


def test_photos_of_other_kinds_are_counted_by_reason(own, tmp_path):
    with Image.open(own / "images/a/1.png") as picture:
        pixels = np.asarray(picture)
        picture.convert("RGBA").save(own / "images/a/1.png")
    report = run(own, tmp_path / "out")
    assert report.changes == {"alpha dropped": 1}
    assert "photos encoded again as PNG, by the reason: 1 alpha dropped" in report.text()
    (record,) = (one for split in HALF.names for one in records(tmp_path / "out", split) if one.file_name == "a/1.png")
    with Image.open(own / "images/a/1.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), pixels)
    assert record.jpeg.startswith(b"\x89PNG")
