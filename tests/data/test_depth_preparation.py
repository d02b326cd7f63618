"""Photos and depth maps become records that give the same depth, and what is no depth is refused by name."""

import dataclasses
import json
import re

import numpy as np
import pytest
from helpers.depth_scenes import depth_scene, write_depth_scenes
from PIL import Image

from data_pipelines.depth_photos import DepthUnits, prepare
from data_pipelines.holdout import Splits
from data_pipelines.preparation import LocalRun
from data_pipelines.verify import verify
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.records import depths, photos
from samjax.data.records.depths import DepthKind
from samjax.data.records.schema import RecordError
from samjax.data.stream.sources import open_source

SIZE = (6, 9)
MILLIMETRES = DepthUnits(scale=1000.0)


@pytest.fixture
def folder(tmp_path):
    return write_depth_scenes(tmp_path, photos=2, size=SIZE)


def run(folder, *, out="out", **options):
    options = {"of": MILLIMETRES, "run": LocalRun(workers=1), **options}
    return prepare(folder / "depth", folder / out, images=folder / "photos", **options)


def read(folder, split="train"):
    source = open_source(str(folder), split, depths.SCHEMA)
    return [depths.decode_record(source[index]) for index in range(len(source))]


def test_records_give_the_depth_of_the_files(folder):
    """Of PNGs of 16 bits and of 8, and of .npy in float32, to the last bit."""
    numbers = {
        "a.npy": depth_scene(7, size=SIZE)[1],
        "b.png": np.full(SIZE, 7, np.uint8),
        "c.npy": np.eye(6, 9, dtype="<i8"),
    }
    for name, values in numbers.items():
        path = folder / "depth" / name
        np.save(path, values) if path.suffix == ".npy" else Image.fromarray(values).save(path)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "photos" / f"{path.stem}.png")
    report = run(folder)
    found = {record.file_name: record for record in read(folder / "out")}
    assert sorted(found) == ["0.png", "1.png", "a.png", "b.png", "c.png"]
    for name, record in found.items():
        stem = name.removesuffix(".png")
        files = [path for path in (folder / "depth").iterdir() if path.stem == stem]
        stored = np.load(files[0]) if files[0].suffix == ".npy" else np.asarray(Image.open(files[0]))
        np.testing.assert_array_equal(record.values(), (stored / 1000.0).astype(np.float32))
        np.testing.assert_array_equal(record.metres(), record.values())
        known = record.values() > 0
        np.testing.assert_allclose(record.inverse()[known], 1 / record.values()[known], rtol=1e-6)
        assert not record.inverse()[~known].any()
        data = depths.encode_record(record)
        assert depths.decode_record(data) == record
        assert photos.decode_record(data).jpeg == record.jpeg
    checked = verify(str(folder / "out"))
    assert not checked.problems
    assert "5 photos in 1 shards" in checked.text()
    assert "mask" not in checked.text() + report.text()
    assert run(folder) == report


def test_inverse_depths_are_what_they_are_called(folder):
    run(folder, of=DepthUnits(kind=DepthKind.INVERSE, scale=10.0))
    for record in read(folder / "out"):
        stored = np.asarray(Image.open(folder / "depth" / record.file_name)) / 10.0
        np.testing.assert_allclose(record.inverse(), stored, rtol=1e-6)
        np.testing.assert_allclose(record.metres(), 1 / stored, rtol=1e-6)


def test_a_photo_without_a_known_depth_is_left_out_and_counted(folder, caplog):
    """However many there are; but not all of them."""
    for number in (2, 3, 4):
        (folder / "photos" / f"{number}.png").write_bytes((folder / "photos" / "0.png").read_bytes())
        Image.fromarray(np.zeros(SIZE, np.uint16)).save(folder / "depth" / f"{number}.png")
    report = run(folder)
    assert (report.records, report.reasons) == (2, {"no known depth": 3})
    assert "3 photos have no known depth and were left out" in caplog.text
    for number in (0, 1):
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(folder / "depth" / f"{number}.png")
    with pytest.raises(UserError, match="hold no usable photo; 5 photos have no known depth: give photos with depth"):
        run(folder, out="other")


def spoil(folder, kind: str) -> None:
    """Write a depth map of photo 0 that is none."""
    path = folder / "depth" / "0.png"
    match kind:
        case "size":
            Image.new("I;16", (9, 5), 7).save(path)
        case "colours":
            Image.new("RGB", (9, 6)).save(path)
        case "palette":
            Image.new("P", (9, 6)).save(path)
        case "no picture":
            path.write_bytes(b"\x89PNG\r\n\x1a\n")
        case "missing":
            path.unlink()
        case _:
            path.unlink()
            values = np.ones(SIZE, np.float32)
            values[2, 3] = {"NaN": np.nan, "infinite": np.inf, "negative": -1.0, "far": 1e12}.get(kind, 1.0)
            if kind == "pickle":
                values = np.array([[{}]])
            if kind == "volume":
                values = values[None]
            np.save(path.with_suffix(".npy"), values, allow_pickle=True)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("size", r"1 depth maps of another size than their photo \(0\.png is 9 x 5, its photo 9 x 6\)"),
        ("colours", r"1 depth maps that cannot be used \(0\.png: it is RGB, but depth is grey of 8 or 16 bits"),
        ("palette", r"0\.png: it is coloured by a palette"),
        ("no picture", r"0\.png: it cannot be read as PNG"),
        ("missing", r"1 photos without depth maps \(0\.png\)\. Fix it, or accept these with --allow-unannotated"),
        ("pickle", r"0\.npy: it cannot be read as \.npy"),
        ("volume", r"0\.npy: it holds float32 of \(1, 6, 9\), expected numbers of height x width"),
    ],
)
def test_what_is_no_depth_is_refused_by_name(folder, kind, sentence):
    spoil(folder, kind)
    with pytest.raises(UserError, match=sentence):
        run(folder)
    assert run(folder, allow_missing=True).records == 1


def test_a_folder_of_other_files_is_refused_without_a_hint_at_what_is_not_read(folder):
    """Label maps may be MATLAB files, depth maps may not."""
    for path in (folder / "depth").iterdir():
        path.rename(path.with_suffix(".mat"))
    with pytest.raises(UserError, match=r"holds no depth maps: give a folder of files that end on '\.png' or '\.npy'$"):
        run(folder)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("NaN", "holds NaN or infinity: write 0"),
        ("infinite", "holds NaN or infinity: write 0"),
        ("negative", "holds -1: depths are above 0"),
        ("far", r"holds 0\.001 to 1e\+09 after division by its scale of 1000"),
    ],
)
def test_numbers_that_are_no_depth_cost_their_record(folder, kind, sentence):
    spoil(folder, kind)
    report = run(folder)
    assert (report.records, report.reasons) == (1, {"broken depth map": 1})
    (example,) = report.examples
    assert re.search(rf"0\.png, 0\.npy: the depth map {sentence}", example)


def test_damaged_records_are_refused(folder):
    run(folder)
    record = read(folder / "out")[0]
    with pytest.raises(RecordError, match="the depth map cannot be read"):
        dataclasses.replace(record, png=record.png[:40]).values()
    with pytest.raises(RecordError, match="the depth map is 5 x 9, its photo 6 x 9"):
        dataclasses.replace(record, png=depths.encode_depths(np.ones((5, 9), np.uint8))).values()
    with pytest.raises(RecordError, match=r"the scale of its depth map is 0\.0"):
        depths.decode_record(depths.encode_record(dataclasses.replace(record, scale=0.0)))
    with pytest.raises(RecordError, match="not a record of the depth schema"):
        depths.decode_record(b"\x00nothing")


def test_a_holdout_splits_by_the_photos_names(tmp_path):
    folder = write_depth_scenes(tmp_path, photos=12, size=SIZE)
    splits = Splits(holdout=0.4)
    run(folder, splits=splits)
    for split in splits.names:
        assert {splits.split_of(record.file_name) for record in read(folder / "out", split)} == {split}
    with pytest.raises(
        UserError, match=r"none of the 12 photos falls into the split val.*another --holdout than 0\.001"
    ):
        run(folder, out="other", splits=Splits(holdout=0.001))


def command(folder, *options) -> int:
    given = {"--annotations": folder / "depth", "--images": folder / "photos", "--out": folder / "records"}
    words = [str(word) for option in given.items() for word in option]
    return main(["data", "prepare", "--format", "depth", *words, "--workers", "1", *options])


def test_the_command_takes_scale_and_kind(folder, capsys):
    assert command(folder, "--depth-scale", "256", "--depth-kind", "inverse") == 0
    record = read(folder / "records")[0]
    assert (record.scale, record.kind) == (256.0, DepthKind.INVERSE)
    assert command(folder, "--depth-scale", "1000") == 2
    assert "was prepared from something else" in capsys.readouterr().err
    assert main(["data", "verify", str(folder / "records")]) == 0
    assert main(["data", "inspect", str(folder / "records"), "--out", str(folder / "looks")]) == 2
    assert "holds photos without masks (depths): inspect draws" in capsys.readouterr().err
    assert json.loads((folder / "records" / "prepare_report.json").read_text())["dataset"] == "depths"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--classes", "ade20k"), "--classes is for classes of pixels"),
        (("--background", "3"), "--format depth takes --photo-suffix, --map-suffix and --photos-from"),
        (("--depth-scale", "0"), "--depth-scale is 0"),
        (("--source", "x"), "--source is not for --format depth"),
    ],
)
def test_options_of_other_formats_are_refused(folder, options, sentence, capsys):
    assert command(folder, *options) == 2
    assert sentence in capsys.readouterr().err


def test_options_of_depth_are_refused_elsewhere(folder, capsys):
    given = ("--annotations", folder / "depth", "--images", folder / "photos", "--out", folder / "other")
    assert main(["data", "prepare", "--format", "label-maps", *map(str, given), "--depth-scale", "2"]) == 2
    assert "--depth-scale is for depth maps: give --format depth too" in capsys.readouterr().err
