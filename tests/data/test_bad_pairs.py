"""Photos and descriptions that cannot be used, or look as if they could not: each on a file that is really so."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shards import description, good, jpeg, members, record, write_tar

from data_pipelines.descriptions import DescriptionError, parse_pair
from data_pipelines.jpegs import check_jpeg
from data_pipelines.pairs import Pair
from data_pipelines.sa1b import LocalRun, prepare
from samjax.data.masks import rle
from samjax.data.photo import PhotoError, open_photo
from samjax.data.records.masks import decode_record
from samjax.data.stream.sources import open_source

SERIAL = LocalRun(workers=1)


def prepare_with(tmp_path, files):
    """Prepare three good records and these files; return the report and the records by id."""
    write_tar(tmp_path / "sa_000000.tar", {**files, **good(3)})
    report = prepare(str(tmp_path / "sa_000000.tar"), tmp_path / "out", run=SERIAL)
    source = open_source(str(tmp_path / "out"), "train")
    found = [decode_record(source[index]) for index in range(len(source))]
    return report, {item.image_id: item for item in found}


def described(change):
    item = record(500)
    text = description(item)
    change(text)
    return members(item, text)


def set_counts(counts):
    return described(lambda text: text["annotations"][1]["segmentation"].update(counts=counts))


def set_sizes(side):
    def change(text):
        text["image"].update(height=side, width=side)
        for mask in text["annotations"]:
            mask["segmentation"]["size"] = [side, side]

    return described(change)


OVERRUN = rle.encode(np.eye(25, 32, dtype=bool))["counts"]
UNDERRUN = rle.encode(np.eye(23, 32, dtype=bool))["counts"]


@pytest.mark.parametrize(
    ("files", "kind", "says"),
    [
        (set_counts(OVERRUN), "broken mask", "annotation 1: runs cover 800 pixels but size says 24 x 32"),
        (set_counts(UNDERRUN), "broken mask", "annotation 1: runs cover 736 pixels but size says 24 x 32"),
        (set_counts("0" * 10**6 + "`"), "broken mask", "annotation 1"),
        (set_counts("\ud800"), "broken mask", "annotation 1"),
        (set_sizes(10**9), "broken mask", "size 1000000000 x 1000000000 is not between"),
        (set_sizes(10**400), "not SA-1B JSON", "height has more than 63 bits"),
        (set_sizes(-1), "not SA-1B JSON", "not a count"),
        (described(lambda text: text["annotations"][1].update(area=7)), "not SA-1B JSON", "area is 7 but the runs"),
        (described(lambda text: text["image"].update(file_name="\ud800")), "not SA-1B JSON", "file_name"),
        (described(lambda text: text["annotations"][0].update(bbox=[10**400, 0, 1, 1])), "not SA-1B JSON", "bbox"),
        (
            described(lambda text: text.update(annotations={})),
            "not SA-1B JSON",
            "annotations is an object, expected a list",
        ),
        ({**described(lambda text: None), "sa_500.json": b"[" + b"9" * 5000 + b"]"}, "not SA-1B JSON", "not JSON"),
        ({**described(lambda text: None), "sa_500.json": b" " * (16 * 2**20 + 1)}, "too large", "json has 16,777,217"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_description_costs_its_record_alone(tmp_path, files, kind, says):
    report, found = prepare_with(tmp_path, files)
    assert report.reasons == {kind: 1}
    assert says in report.examples[0]
    assert len(report.examples[0]) < 400
    assert sorted(found) == [1, 2, 3]


def without(text, *keys):
    for key in keys:
        del text[key]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: without(text["image"], "width", "file_name"), "image.width and image.file_name are missing"),
        (
            lambda text: without(text["annotations"][0], "id", "crop_box", "stability_score"),
            "annotation 0: id, crop_box and stability_score are missing",
        ),
        (
            lambda text: (without(text["image"], "image_id"), without(text["annotations"][1], "area")),
            "image.image_id is missing; annotation 1: area is missing",
        ),
        (
            lambda text: text["image"].update(image_id="500", width="32"),
            'image.width is "32", expected an integer; image.image_id is "500", expected an integer',
        ),
        (
            lambda text: text["annotations"][1].update(area=None, id=True, predicted_iou="0.9", bbox="large"),
            "annotation 1: id is true, expected an integer; area is null, expected an integer; "
            'bbox is "large", expected 4 numbers; predicted_iou is "0.9", expected a number',
        ),
        (
            lambda text: text["annotations"][1]["segmentation"].update(size=["24", 32], counts=None),
            "annotation 1: segmentation.counts is null, expected text (compressed run lengths, as pycocotools encodes "
            'them); segmentation.size is ["24", 32], expected 2 numbers',
        ),
        (
            lambda text: text["annotations"][1].update(segmentation=[[1, 2, 3]]),
            "segmentation is a list of 1, expected an",
        ),
        (lambda text: text["annotations"].append("x"), 'annotation 2: "x", expected an object'),
        (lambda text: text["annotations"][0].update(point_coords=3), "point_coords is 3, expected a list"),
        (
            lambda text: text["annotations"][0].update(bbox=[0, 0, 33, 1], crop_box=[0, 0, 1, 25]),
            "bbox [0.0, 0.0, 33.0, 1.0] is not inside the photo, 24 x 32; crop_box [0.0, 0.0, 1.0, 25.0] is not inside",
        ),
    ],
)
def test_all_that_a_description_lacks_is_named_at_once_as_the_file_has_it(change, says):
    item = record(500)
    text = description(item)
    change(text)
    files = members(item, text)
    with pytest.raises(DescriptionError) as caught:
        parse_pair(Pair(where="x", jpeg=files["sa_500.jpg"], text=files["sa_500.json"]))
    assert says in str(caught.value)


def test_every_field_is_documented_and_needed():
    text = (Path(__file__).parent.parent.parent / "docs/data.md").read_text()
    shown = json.loads(text.split("```json\n")[1].split("```")[0])
    rows = text.split("| field | holds |")[1].split("\n\n")[0]
    for holder, path in (
        (shown["image"], "image."),
        (shown["annotations"][0], ""),
        (shown["annotations"][0]["segmentation"], "segmentation."),
    ):
        for key in holder:
            assert key == "segmentation" or f"`{path}{key}`" in rows
    with pytest.raises(DescriptionError) as caught:
        parse_pair(Pair(where="x", jpeg=b"", text=b'{"image": {}, "annotations": [{"segmentation": {}}]}'))
    for row in rows.splitlines()[2:]:
        for field in re.findall("`([a-z_.]+)`", row.split("|")[1]):
            assert field == "annotations" or field in str(caught.value)


def test_whole_numbers_may_be_written_with_a_point():
    """As tables that hold floats write them: the value counts, not the type."""
    item = record(500)
    text = json.loads(json.dumps(description(item)), parse_int=float)
    files = members(item, text)
    assert b'"image_id": 500.0' in files["sa_500.json"]
    found = parse_pair(Pair(where="x", jpeg=files["sa_500.jpg"], text=files["sa_500.json"]))
    assert found == parse_pair(Pair(where="x", jpeg=item.jpeg, text=members(item)["sa_500.json"]))


def test_a_photo_that_exif_turns_is_told():
    item = record(500, np.ones((1, 32, 24), bool), height=32, width=24)
    text = members(item)["sa_500.json"]
    with pytest.raises(PhotoError, match="photo is 24 x 32 but its record says 32 x 24: EXIF turns it, but masks must"):
        parse_pair(Pair(where="x", jpeg=rotated(), text=text))


def test_masks_without_a_pixel_are_left_out_and_counted(tmp_path):
    masks = np.zeros((3, 24, 32), bool)
    masks[1, 3:9, 4] = True
    report, found = prepare_with(tmp_path, members(record(500, masks)))
    assert (report.records, report.masks, report.empty_masks, report.dropped) == (4, 7, 2, 0)
    assert [mask.id for mask in found[500].annotations] == [1]
    assert "2 masks without a pixel were left out" in report.text()


@pytest.mark.parametrize("masks", [np.zeros((0, 24, 32), bool), np.zeros((2, 24, 32), bool)])
def test_a_photo_without_masks_is_kept_and_counted(tmp_path, masks):
    report, found = prepare_with(tmp_path, members(record(500, masks)))
    assert (report.records, report.without_masks, report.empty_masks) == (4, 1, len(masks))
    assert found[500].annotations == ()
    assert "1 of the photos have no mask" in report.text()


def encoded(mode, *, size=(24, 32), **options):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, len(mode)), np.uint8).squeeze()
    file = io.BytesIO()
    Image.fromarray(pixels, mode).save(file, format="JPEG", **options)
    return file.getvalue()


def photo(content, *, size=(24, 32)):
    """The files of record 500 with another JPEG."""
    item = record(500, np.ones((1, *size), bool), height=size[0], width=size[1])
    return {**members(item), "sa_500.jpg": content}


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter when shown
    return encoded("RGB", exif=exif)


@pytest.mark.parametrize(
    "content",
    [encoded("L"), encoded("CMYK"), encoded("RGB", progressive=True), encoded("RGB") + b"\0" * 50, rotated()],
    ids=["grey", "CMYK", "progressive", "bytes after the end", "EXIF rotation"],
)
def test_unusual_photos_are_kept_byte_for_byte(tmp_path, content):
    """SA-1B's masks lie on the pixels as stored, so the orientation in EXIF turns nothing."""
    report, found = prepare_with(tmp_path, photo(content))
    assert report.dropped == 0
    assert found[500].jpeg == content
    opened = np.asarray(open_photo(content, height=24, width=32))
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(opened, np.asarray(image.convert("RGB")))


def claims(content, *, height, width):
    """A JPEG whose header says another size."""
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + content[at + 4 :]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (encoded("RGB", size=(32, 24)), "photo is 32 x 24 but its record says 24 x 32"),
        (claims(encoded("RGB"), height=60_000, width=60_000), "JPEG cannot be read"),
        (claims(encoded("RGB"), height=10_000, width=10_000), "JPEG cannot be read|photo is 10000 x 10000"),
        (encoded("RGB")[:-2], "cut short"),
        (encoded("RGB")[: len(encoded("RGB")) // 2], "Truncated"),
        (encoded("RGB", progressive=True)[:-400], "cut short"),
        (b"", "not a JPEG"),
    ],
    ids=["turned", "bomb", "small bomb", "no end", "half", "progressive", "empty"],
)
def test_a_broken_photo_costs_its_record_alone(tmp_path, content, says):
    report, found = prepare_with(tmp_path, photo(content))
    assert report.reasons == {"broken photo": 1}
    assert any(part in report.examples[0] for part in says.split("|"))
    assert sorted(found) == [1, 2, 3]


def test_a_bomb_that_its_description_bears_out_is_dropped_unopened(tmp_path):
    content = claims(encoded("RGB"), height=60_000, width=60_000)
    text = {"image": {"image_id": 500, "height": 60_000, "width": 60_000, "file_name": "x"}, "annotations": []}
    files = {"sa_500.jpg": content, "sa_500.json": json.dumps(text).encode()}
    report, _ = prepare_with(tmp_path, files)
    assert "size 60000 x 60000 is not between" in report.examples[0]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"comment": b"\xff\xd9"}])
def test_every_cut_of_a_photo_is_seen(options):
    """Whatever the cut leaves, an end inside a comment or a thumbnail is not the photo's."""
    whole = encoded("RGB", **options)
    check_jpeg(whole, height=24, width=32)
    cuts = 0
    for length in range(200, len(whole), 7):
        with pytest.raises(PhotoError):
            check_jpeg(whole[:length], height=24, width=32)
        cuts += 1
    assert cuts > 20


def test_a_photo_of_nothing_but_segments_takes_no_minutes():
    whole = jpeg(24, 32)
    with pytest.raises(PhotoError, match="more than 100,000 segments"):
        check_jpeg(whole[:-2] + b"\xff\xe1\x00\x02" * 10**6 + whole[-2:], height=24, width=32)
