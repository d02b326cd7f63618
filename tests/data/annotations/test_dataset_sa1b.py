from dataclasses import replace

import numpy as np
import pytest
from dataset_files import masks_of, random_masks, write_photo

from samjax.core.errors import UserError
from samjax.data.annotations import sa1b_records
from samjax.data.annotations.sa1b_records import read_sa1b
from samjax.data.masks import rle
from samjax.data.records.masks import Annotation, Record, decode_record, encode_record
from samjax.data.stream.sources import open_source


class Records:
    """Records in memory."""

    name = "made"

    def __init__(self, records):
        self._records = records

    def __len__(self):
        return len(self._records)

    def __getitem__(self, index):
        return self._records[index]


def annotation(mask, number):
    return Annotation(
        id=number,
        counts=rle.encode(mask)["counts"],
        area=int(mask.sum()),
        bbox=(0.0, 0.0, 0.5, 0.5),
        crop_box=(0.0, 0.0, 1.0, 1.0),
        point=(1.0, 2.0),
        predicted_iou=1.0,
        stability_score=1.0,
    )


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Reads records with two masks each, numbered on, after changes."""

    def read(*changes, ids=(5, 2), numbered_on=True, allow_missing=False):
        write_photo(tmp_path / "x.jpg")
        records = []
        for place, image_id in enumerate(ids):
            start = 2 * place if numbered_on else 0
            masks = random_masks(2, seed=image_id)
            annotations = tuple(annotation(mask, start + number) for number, mask in enumerate(masks))
            record = Record(
                image_id=image_id,
                file_name=f"sa_{image_id}.jpg",
                height=24,
                width=32,
                jpeg=(tmp_path / "x.jpg").read_bytes(),
                annotations=annotations,
            )
            records.append(changes[place](record) if place < len(changes) else record)
        encoded = [one if isinstance(one, bytes) else encode_record(one) for one in records]
        monkeypatch.setattr(sa1b_records, "open_source", lambda path, split: Records(encoded))
        return read_sa1b("made", name="made", split="train", allow_missing=allow_missing)

    return read


def test_every_mask_of_prepared_records_comes_back(prepared):
    source = open_source(str(prepared / "val"), "val")
    records = {one.image_id: one for one in (decode_record(source[index]) for index in range(len(source)))}
    dataset = read_sa1b(str(prepared / "val"), name="val")
    assert [photo.id for photo in dataset.photos] == sorted(records)
    assert dataset.masks == sum(len(one.annotations) for one in records.values())
    for photo in dataset.photos:
        counts = [one.counts for one in records[photo.id].annotations]
        assert [one.segmentation["counts"] for one in photo.instances] == counts
    assert dataset.photos[0].read().shape == (dataset.photos[0].height, dataset.photos[0].width, 3)


def test_masks_keep_their_ids_unless_two_share_one(made):
    assert [[one.id for one in photo.instances] for photo in made().photos] == [[2, 3], [0, 1]]
    again = made(numbered_on=False)
    assert [[one.id for one in photo.instances] for photo in again.photos] == [[1, 2], [3, 4]]
    np.testing.assert_array_equal(masks_of(again.photos[0]), random_masks(2, seed=2))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("records that cannot be read", lambda record: b"none"),
        ("photos without masks", lambda record: replace(record, annotations=())),
        ("photos whose id is given twice", lambda record: replace(record, image_id=2)),
        (
            "masks that cannot be used",
            lambda record: replace(
                record, annotations=(replace(record.annotations[0], counts="5"), *record.annotations[1:])
            ),
        ),
    ],
)
def test_records_that_cannot_be_used_are_refused_and_counted_where_allowed(made, kind, change):
    with pytest.raises(UserError, match=f"made has 1 {kind}"):
        made(change)
    assert made(change, allow_missing=True).left_out == {kind: 1}


def test_the_split_is_asked_for_where_there_are_several(prepared, monkeypatch):
    with pytest.raises(UserError, match="no split 'val'"):
        read_sa1b(str(prepared / "train"), name="x", split="val")
    _, folder = sa1b_records.open_info(str(prepared / "train"))

    class Two:
        splits = ("train", "val")

    monkeypatch.setattr(sa1b_records, "open_info", lambda path: (Two, folder))
    with pytest.raises(UserError, match="has the splits train, val: give one of them with --split"):
        read_sa1b(str(prepared / "train"), name="x")
