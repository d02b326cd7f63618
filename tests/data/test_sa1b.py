import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from shards import description, good, members, record, write_tar

from data_pipelines.demo_photos import inclusive_box
from data_pipelines.sa1b import prepare
from data_pipelines.units import find_units
from samjax.core.errors import UserError
from samjax.data.masks import rle
from samjax.data.photo import open_photo
from samjax.data.records.masks import decode_record
from samjax.data.stream.sources import open_source


def read_all(folder, split="train"):
    source = open_source(str(folder), split)
    return {item.image_id: item for item in (decode_record(source[index]) for index in range(len(source)))}


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_shipped_photos_come_through_whole(photos, prepared, split):
    """Photos byte for byte, masks as they were, boxes normalised."""
    found = read_all(prepared / split, split)
    with tarfile.open(photos / split / "sa_000000.tar") as shard:
        names = [name for name in shard.getnames() if name.endswith(".json")]
        assert len(names) == len(found)
        for name in names:
            described = json.load(shard.extractfile(name))
            item = found[described["image"]["image_id"]]
            assert item.jpeg == shard.extractfile(item.file_name).read()
            for mask, original in zip(item.annotations, described["annotations"], strict=True):
                assert mask.counts == original["segmentation"]["counts"]
                assert mask.area == original["area"]
                x, y, width, height = original["bbox"]
                expected = [y / item.height, x / item.width, (y + height) / item.height, (x + width) / item.width]
                np.testing.assert_allclose(mask.bbox, expected, rtol=1e-6)


def test_tfds_opens_what_was_written(prepared):
    builder = tfds.builder_from_directory(prepared / "val")
    assert builder.info.splits["val"].num_examples == 53
    example = builder.as_data_source("val", decoders={"image": {"content": tfds.decode.SkipDecoding()}})[0]
    assert example["image"]["content"][:2] == b"\xff\xd8"
    assert len(example["annotations"]["segmentation"]["counts"]) == len(example["annotations"]["bbox"])


def test_tensorflow_and_beam_stay_away(photos, tmp_path):
    out = str(tmp_path / "out")
    program = (
        "import sys; from data_pipelines.sa1b import prepare; from samjax.data.stream.sources import open_source;"
        f"prepare({str(photos / 'train')!r}, {out!r}); open_source({out!r}, 'train');"
        "sys.exit(str([name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'apache_beam')] or ''))"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1)
    assert (done.stderr.strip(), done.stdout.strip()) == ("", "")


def changed(**changes):
    """The described record 500 with one annotation field changed."""
    described = description(record(500))
    described["annotations"][1].update(changes)
    return members(record(500), described)


def resized(height, width):
    described = description(record(500))
    described["image"].update(height=height, width=width)
    return members(record(500), described)


def segmentation(counts, size=(24, 32)):
    return {"segmentation": {"size": list(size), "counts": counts}}


FAULTS = {
    "no JSON": ({"sa_500.jpg": b"x"}, "no JSON", "every photo needs"),
    "no JPEG": ({"sa_500.json": b"{}"}, "no JPEG", "every photo needs"),
    "not JSON": ({"sa_500.jpg": b"x", "sa_500.json": b"{]"}, "not SA-1B JSON", "not JSON"),
    "not text": ({"sa_500.jpg": b"x", "sa_500.json": b"\xff\xfe\x00"}, "not SA-1B JSON", "not JSON"),
    "deep JSON": ({"sa_500.jpg": b"x", "sa_500.json": b"[" * 100_000}, "not SA-1B JSON", "not JSON"),
    "other JSON": (
        {"sa_500.jpg": b"x", "sa_500.json": b'{"images": []}'},
        "not SA-1B JSON",
        "image and annotations are missing",
    ),
    "short runs": (changed(**segmentation("0")), "broken mask", "annotation 1: runs cover 0 pixels"),
    "no counts": (changed(**segmentation([1, 2])), "not SA-1B JSON", r"segmentation.counts is \[1, 2\], expected text"),
    "other size": (changed(**segmentation("0", (24, 31))), "not SA-1B JSON", "segmentation.size"),
    "box": (changed(bbox=[1.0, 2.0, 40.0, 3.0]), "not SA-1B JSON", "bbox .* is not inside the photo"),
    "box length": (changed(bbox=[1.0, 2.0, 3.0]), "not SA-1B JSON", r"bbox is \[1.0, 2.0, 3.0\], expected 4 numbers"),
    "NaN": (changed(predicted_iou=float("nan")), "not SA-1B JSON", "predicted_iou"),
    "points": (changed(point_coords=[]), "not SA-1B JSON", "point_coords holds 0 points"),
    "area": (changed(area=-1), "not SA-1B JSON", "area is -1"),
    "photo size": (resized(25, 32), "broken photo", "photo is 24 x 32 but its record says 25 x 32"),
    "huge": (resized(2**30, 2**30), "broken mask", "is not between"),
    "not a photo": ({**changed(), "sa_500.jpg": b"GIF89a" * 20}, "broken photo", "not a JPEG"),
    "large id": (members(dataclasses.replace(record(500), image_id=2**31)), "not SA-1B JSON", "31 bits"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_bad_record_is_dropped_counted_and_named(tmp_path, caplog, fault):
    files, kind, says = FAULTS[fault]
    tar = write_tar(tmp_path / "sa_000000.tar", {**files, **good(3)})
    report = prepare(str(tar), tmp_path / "out")
    assert (report.records, report.masks, report.dropped, report.reasons) == (3, 6, 1, {kind: 1})
    assert sorted(read_all(tmp_path / "out")) == [1, 2, 3]
    (example,) = report.examples
    assert re.search(says, example)
    assert "sa_000000.tar: sa_" in example
    assert example in caplog.text
    assert json.loads((tmp_path / "out/prepare_report.json").read_text())["dropped"] == 1


def test_a_photo_that_comes_twice_is_kept_once(tmp_path):
    write_tar(tmp_path / "tars/sa_000000.tar", good(3))
    write_tar(tmp_path / "tars/sa_000001.tar", good(3, first=3))
    report = prepare(str(tmp_path / "tars"), tmp_path / "out")
    assert (report.records, report.reasons) == (5, {"duplicate": 1})


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_more_than_one_percent_stops_and_leaves_nothing(tmp_path):
    bad = {f"sa_{number}.json": b"{}" for number in (901, 902)}
    write_tar(tmp_path / "tars/sa_000000.tar", {**good(150), **bad})
    with pytest.raises(UserError, match=r"2 of 152 records cannot be used, more than 1%.*sa_902"):
        prepare(str(tmp_path / "tars"), tmp_path / "out")
    assert left(tmp_path / "out") == [".prepare"], "not to be taken for a data set"
    with pytest.raises(UserError, match="no dataset_info"):
        open_source(str(tmp_path / "out"), "train")


def test_one_percent_goes_through(tmp_path):
    bad = {f"sa_{number}.json": b"{}" for number in (901, 902)}
    write_tar(tmp_path / "tars/sa_000000.tar", {**good(198), **bad})
    assert prepare(str(tmp_path / "tars"), tmp_path / "out").reasons == {"no JPEG": 2}


@pytest.mark.parametrize("name", ["sa_0.json", "sa_0.jpg"])
def test_tars_without_a_usable_photo_are_refused(tmp_path, name):
    write_tar(tmp_path / "sa_000000.tar", {name: b"{}"})
    with pytest.raises(UserError, match="no usable photo"):
        prepare(str(tmp_path / "sa_000000.tar"), tmp_path / "out")
    assert left(tmp_path) == ["out", "sa_000000.tar"]


def test_stray_members_are_ignored_and_counted(tmp_path):
    """Neither names that leave the folder nor links are followed, and nothing is extracted."""
    tar = write_tar(
        tmp_path / "in/sa_000000.tar", {**good(2), "README.txt": b"x", "../sa_7.jpg": b"x", "._sa_1.jpg": b"x"}
    )
    with tarfile.open(tar, "a") as archive:
        for name, kind in (
            ("sa_8.jpg", tarfile.SYMTYPE),
            ("sa_9.jpg", tarfile.LNKTYPE),
            ("sa_10.jpg", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname"
            archive.addfile(member)
    report = prepare(str(tar), tmp_path / "out")
    assert (report.records, report.dropped, report.ignored_members) == (2, 0, 6)
    assert left(tmp_path) == ["in", "out"]


@pytest.mark.parametrize("inside", ["./", "sa_000000/"])
def test_members_may_lie_in_one_folder(tmp_path, inside):
    tar = write_tar(tmp_path / "sa_000000.tar", {inside + name: content for name, content in good(2).items()})
    assert prepare(str(tar), tmp_path / "out").records == 2


def header_offset(data, index):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()[index].offset


def damaged(data, how):
    if how == "cut in a file":
        return data[: len(data) // 2 + 100]
    if how == "cut between files":
        return data[: header_offset(data, 3)]
    if how == "header":
        at = header_offset(data, 3)
        return data[: at + 20] + b"\xff" * 8 + data[at + 28 :]
    return {"empty": b"", "text": b"hello " * 500}[how]


@pytest.mark.parametrize("how", ["cut in a file", "cut between files", "header", "empty", "text"])
def test_a_damaged_tar_is_refused(tmp_path, how):
    """tarfile takes a damaged header for the end of the tar: what follows would be lost without a word."""
    tar = write_tar(tmp_path / "sa_000000.tar", good(4))
    tar.write_bytes(damaged(tar.read_bytes(), how))
    with pytest.raises(UserError, match=r"sa_000000.tar cannot be read as an uncompressed tar"):
        prepare(str(tar), tmp_path / "out")
    assert left(tmp_path) == ["sa_000000.tar"]


def test_sources_are_a_folder_a_pattern_or_a_tar(tmp_path):
    tars = [write_tar(tmp_path / f"sa_00000{number}.tar", {}) for number in range(3)]
    for source, expected in (
        (str(tmp_path), tars),
        (str(tmp_path / "sa_00000[01].tar"), tars[:2]),
        (str(tars[1]), [tars[1]]),
        ([str(tars[2]), str(tars[0]), str(tmp_path / "sa_00000[02].tar")], [tars[0], tars[2]]),
    ):
        assert [unit.path for unit in find_units(source)] == [str(path) for path in expected]
    (tmp_path / "run [a]").mkdir()
    odd = write_tar(tmp_path / "run [a]" / "sa_000003.tar", {})
    assert [unit.path for unit in find_units(f"{tmp_path}/run [a]/*.tar")] == [str(odd)]
    for nothing in (tmp_path / "none", tmp_path / "x*.tar", tmp_path / "sa_9.tar"):
        with pytest.raises(UserError, match="holds no tars"):
            find_units(str(nothing))


def test_nothing_is_overwritten(tmp_path, photos):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("x")
    (tmp_path / "out/.DS_Store").write_text("x")
    with pytest.raises(UserError, match="exists already"):
        prepare(str(photos / "train"), tmp_path / "out")
    assert left(tmp_path / "out") == [".DS_Store", "mine.txt"]
    (tmp_path / "out/mine.txt").unlink()
    prepare(str(photos / "train"), tmp_path / "out")


def test_the_shipped_photos_are_free_small_and_apart(photos):
    rows = json.loads((photos / "attribution.json").read_text())
    assert {row["license"] for row in rows} == {"CC BY 2.0"}
    assert all(row["source_url"] and "resized" in row["changes"] for row in rows)
    files = {}
    for split in ("train", "val"):
        with tarfile.open(photos / split / "sa_000000.tar") as shard:
            files[split] = {name for name in shard.getnames() if name.endswith(".jpg")}
            assert all(member.mtime == 0 for member in shard)
    assert {row["file"] for row in rows} == {
        f"{split}/sa_000000.tar:{name}" for split, names in files.items() for name in names
    }
    assert not files["train"] & files["val"]
    assert sum(path.stat().st_size for path in photos.rglob("*") if path.is_file()) < 4_500_000


def test_the_shipped_masks_follow_the_release(photos):
    """Boxes have inclusive maxima, areas are the masks', photos decode at the size written."""
    with tarfile.open(photos / "train/sa_000000.tar") as shard:
        for name in [name for name in shard.getnames() if name.endswith(".json")][:12]:
            described = json.load(shard.extractfile(name))
            image = described["image"]
            size = {"height": image["height"], "width": image["width"]}
            assert max(size.values()) == 384
            open_photo(shard.extractfile(image["file_name"]).read(), **size)
            for annotation in described["annotations"]:
                mask = rle.decode(annotation["segmentation"]["counts"], **size)
                assert annotation["area"] == mask.sum() > 0
                assert annotation["bbox"] == inclusive_box(mask)
