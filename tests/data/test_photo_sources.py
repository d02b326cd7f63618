"""Photos without masks: which files become records, with which bytes, under which ids."""

import io
import json
import struct
import tarfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from shards import good, jpeg, write_tar

from data_pipelines import local_run, photo_units
from data_pipelines.duplicates import with_free_ids
from data_pipelines.out_folder import OutFolder
from data_pipelines.photo_jpegs import PhotoRules, to_jpeg
from data_pipelines.photo_units import find_photos, image_id_of
from data_pipelines.photos import prepare
from data_pipelines.preparation import LocalRun
from data_pipelines.shards import ShardResult
from data_pipelines.verify import verify
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.photo import PhotoError
from samjax.data.records import photos as records
from samjax.data.stream.readers import open_reader

SERIAL = LocalRun(workers=1)
AS_THEY_ARE = PhotoRules()


def encoded(height, width, *, mode="RGB", kind="PNG", seed=0, **options):
    """A picture of large blocks, of which JPEG keeps what is seen."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    picture = Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST).convert(mode)
    file = io.BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()


def turned(height, width, orientation=6):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(height, width, kind="JPEG", quality=95, exif=exif)


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read_all(folder):
    """The records in their order."""
    found = []
    for shard in sorted(folder.glob("*.array_record*")):
        reader = open_reader(str(shard))
        found += [records.decode_record(data) for data in reader.read_all()]
    return found


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FILES = {
    "a.jpg": jpeg(20, 30),
    "deep/er/than/three/down/b.JPEG": jpeg(30, 20, seed=1),
    "deep/c.png": encoded(20, 30),
    "deep/d.webp": encoded(24, 36, kind="WEBP"),
    "e ä.tif": encoded(20, 30, kind="TIFF"),
    "labels.csv": b"x",
    ".hidden.jpg": jpeg(20, 30),
    ".Trash/f.jpg": jpeg(20, 30),
}


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "in", FILES)


def test_any_folder_of_photos_is_read_all_the_way_down(folder, tmp_path, capsys):
    assert main(["data", "prepare", "--format", "photos", "--source", str(folder), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "5 photos in 1 shards" in said
    assert "1 PNG, 1 TIFF, 1 WEBP" in said
    assert "2 files that are no part of a record were ignored" in said
    found = {record.file_name: record for record in read_all(tmp_path / "out")}
    assert list(found) == ["a.jpg", "deep/c.png", "deep/d.webp", "deep/er/than/three/down/b.JPEG", "e ä.tif"]
    assert found["a.jpg"].jpeg == FILES["a.jpg"]
    assert (found["deep/d.webp"].height, found["deep/d.webp"].width) == (24, 36)
    assert {record.image_id for record in found.values()} == {image_id_of(name) for name in found}
    report = verify(str(tmp_path / "out"))
    assert (report.problems, report.records, report.sample, report.against_report) == ((), 5, 5, True)
    assert main(["data", "verify", str(tmp_path / "out"), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "5 photos in 1 shards" in said
    assert "masks" not in said


def test_tfds_opens_what_was_written(folder, tmp_path):
    prepare(str(folder), tmp_path / "out", split="part", run=SERIAL)
    builder = tfds.builder_from_directory(tmp_path / "out")
    assert builder.info.splits["part"].num_examples == 5
    example = builder.as_data_source("part", decoders={"image": {"content": tfds.decode.SkipDecoding()}})[0]
    assert example["image"]["content"] == FILES["a.jpg"]


def test_tars_of_any_layout_are_read(tmp_path):
    """Webdataset's, with labels beside the photos; and SA-1B's, whose JSONs are no photos."""
    write_tar(
        tmp_path / "in/x.tar", {"k/1.jpg": jpeg(20, 30), "k/1.cls": b"7", "k/2.png": encoded(20, 30), "../3.jpg": b""}
    )
    write_tar(tmp_path / "in/sub/sa.tar", good(3))
    report = prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
    assert (report.records, report.dropped, report.ignored_members) == (5, 0, 5)
    names = [record.file_name for record in read_all(tmp_path / "out")]
    assert names == ["sa.tar/sa_1.jpg", "sa.tar/sa_2.jpg", "sa.tar/sa_3.jpg", "x.tar/k/1.jpg", "x.tar/k/2.png"]
    assert verify(str(tmp_path / "out")).problems == ()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["a.jpg"]),
        ("**/*.[jp]*g", ["a.jpg", "deep/c.png"]),
        ("d*", ["deep/c.png", "deep/d.webp", "deep/er/than/three/down/b.JPEG"]),
        ("deep/c.png", ["c.png"]),
    ],
)
def test_patterns_and_single_photos_are_sources(folder, pattern, names):
    (unit,) = find_photos(f"{folder}/{pattern}", rules=AS_THEY_ARE)
    assert sorted(unit.photos) == names


def test_a_photo_named_twice_is_read_once(folder):
    units = find_photos([str(folder / "deep"), str(folder), f"{folder}/*.jpg"], rules=AS_THEY_ARE)
    assert sorted(name for unit in units for name in unit.photos) == [
        *("a.jpg", "c.png", "d.webp", "e ä.tif", "er/than/three/down/b.JPEG")
    ]


@pytest.mark.parametrize("name", ["", "empty", "missing", "*.gif"])
def test_a_source_without_photos_is_one_sentence(tmp_path, capsys, name):
    write(tmp_path / "in", {"empty/notes.txt": b"x"})
    source = str(tmp_path / "in" / name)
    assert main(["data", "prepare", "--format", "photos", "--source", source, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "holds no photos: give a folder with photos in it" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_tar_without_photos_is_named(tmp_path):
    write_tar(tmp_path / "x.tar", {"1.txt": b"x"})
    with pytest.raises(UserError, match=r"none of its 1 members is a photo .*, the first is '1.txt'"):
        prepare(str(tmp_path / "x.tar"), tmp_path / "out", run=SERIAL)


@pytest.mark.parametrize(
    ("content", "size", "changes"),
    [
        (jpeg(20, 30), (20, 30), ()),
        (turned(20, 30, 1), (20, 30), ()),
        (turned(20, 30, 6), (30, 20), ("turned by EXIF",)),
        (turned(20, 30, 3), (20, 30), ("turned by EXIF",)),
        (encoded(20, 30, mode="L", kind="JPEG"), (20, 30), ("grey",)),
        (encoded(20, 30, mode="CMYK", kind="JPEG"), (20, 30), ("CMYK",)),
        (encoded(20, 30, mode="RGBA"), (20, 30), ("PNG",)),
        (encoded(20, 30, mode="P", kind="GIF"), (20, 30), ("GIF",)),
        (encoded(20, 30, mode="I;16"), (20, 30), ("PNG",)),
        (encoded(1, 1, kind="BMP"), (1, 1), ("BMP",)),
    ],
    ids=["jpeg", "exif 1", "exif 6", "exif 3", "grey", "cmyk", "alpha", "gif", "16 bits", "pixel"],
)
def test_what_is_no_upright_rgb_jpeg_becomes_one(content, size, changes):
    photo = to_jpeg(content, rules=AS_THEY_ARE, name="x")
    assert (photo.height, photo.width) == size
    assert photo.changes == changes
    assert (photo.jpeg == content) is not bool(changes)
    with Image.open(io.BytesIO(photo.jpeg)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", size[::-1])
        assert picture.getexif().get(0x0112, 1) == 1


def test_a_turned_photo_is_written_as_viewers_show_it():
    """The corners move with the pixels."""
    with Image.open(io.BytesIO(turned(80, 120))) as stored:
        expected = np.asarray(stored.rotate(-90, expand=True), int)
    with Image.open(io.BytesIO(to_jpeg(turned(80, 120), rules=AS_THEY_ARE, name="x").jpeg)) as picture:
        assert np.abs(np.asarray(picture, int) - expected).mean() < 4


def test_an_exif_that_cannot_be_read_costs_nothing():
    content = turned(20, 30)
    broken = content.replace(b"Exif\0\0", b"Exif\0\0" + b"?" * 8, 1)
    at = broken.index(b"\xff\xe1") + 2
    broken = broken[:at] + struct.pack(">H", struct.unpack(">H", broken[at : at + 2])[0] + 8) + broken[at + 2 :]
    assert to_jpeg(broken, rules=AS_THEY_ARE, name="x") == (broken, 20, 30, ())
    assert to_jpeg(broken, rules=PhotoRules(longest_side=15), name="x")[1:] == (10, 15, ("scaled down",))


@pytest.mark.parametrize(
    ("rules", "photo", "expected"),
    [
        (PhotoRules(longest_side=320), (480, 640), (240, 320)),
        (PhotoRules(longest_side=320), (640, 480), (320, 240)),
        (PhotoRules(longest_side=320), (320, 100), (320, 100)),
        (PhotoRules(longest_side=320), (1, 5000), (1, 320)),
        (PhotoRules(shortest_side=256), (512, 768), (256, 384)),
        (PhotoRules(shortest_side=256), (768, 513), (383, 256)),
        (PhotoRules(shortest_side=256), (200, 5000), (200, 5000)),
        (AS_THEY_ARE, (5000, 4000), (5000, 4000)),
    ],
)
def test_photos_are_scaled_down_and_never_up(rules, photo, expected):
    assert rules.size(*photo) == expected


def test_scaled_photos_are_bicubic_and_counted(folder, tmp_path):
    report = prepare(str(folder), tmp_path / "out", rules=PhotoRules(longest_side=30), run=SERIAL)
    assert report.changes == {"PNG": 1, "TIFF": 1, "WEBP": 1, "scaled down": 1}
    photo = to_jpeg(FILES["a.jpg"], rules=PhotoRules(longest_side=15), name="x")
    assert (photo.height, photo.width, photo.changes) == (10, 15, ("scaled down",))
    with Image.open(io.BytesIO(FILES["a.jpg"])) as picture, io.BytesIO() as file:
        picture.resize((15, 10), Image.Resampling.BICUBIC).save(file, format="JPEG", quality=95, subsampling="4:2:0")
        assert photo.jpeg == file.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, jpeg(20, 30)[:-2], jpeg(20, 30)[:50], encoded(20, 30)[:60]], ids=range(5)
)
@pytest.mark.parametrize("rules", [AS_THEY_ARE, PhotoRules(longest_side=9)])
def test_a_broken_photo_is_refused(content, rules):
    with pytest.raises(PhotoError):
        to_jpeg(content, rules=rules, name="x")


def test_broken_photos_are_dropped_counted_and_named(folder, tmp_path, caplog):
    (folder / "z.jpg").write_bytes(jpeg(20, 30)[:60])
    report = prepare(str(folder), tmp_path / "out", run=SERIAL)
    assert (report.records, report.reasons) == (5, {"broken photo": 1})
    assert report.examples[0].startswith("in/: z.jpg: ")
    assert "z.jpg" in caplog.text
    (line,) = (tmp_path / "out/prepare_dropped.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "broken photo"
    (folder / "y.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="2 of 7 records cannot be used, more than 1%"):
        prepare(str(folder), tmp_path / "other", run=SERIAL)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(photo_units, "PHOTOS_A_SHARD", 2)


@pytest.mark.usefixtures("small_shards")
def test_any_number_of_processes_gives_the_same_bytes(folder, tmp_path):
    prepare(str(folder), tmp_path / "serial", run=SERIAL)
    prepare(str(folder), tmp_path / "parallel", run=LocalRun(workers=2))
    assert contents(tmp_path / "serial") == contents(tmp_path / "parallel")
    assert len(list((tmp_path / "serial").glob("photos-train.array_record-*"))) == 3


@pytest.mark.usefixtures("small_shards")
def test_what_is_interrupted_goes_on(folder, tmp_path, monkeypatch):
    made, make_shard = [], local_run.make_shard

    def dying(unit, *arguments, **named):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(unit.first)
        return make_shard(unit, *arguments, **named)

    monkeypatch.setattr(local_run, "make_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        prepare(str(folder), tmp_path / "out", run=SERIAL)
    assert not (tmp_path / "out/dataset_info.json").exists()
    with pytest.raises(UserError, match=r"was begun as photos as large as they are, but .* as photos of at most 9"):
        prepare(str(folder), tmp_path / "out", rules=PhotoRules(longest_side=9), run=SERIAL)
    monkeypatch.setattr(
        local_run,
        "make_shard",
        lambda unit, *rest, **named: made.append(unit.first) or make_shard(unit, *rest, **named),
    )
    prepare(str(folder), tmp_path / "out", run=SERIAL)
    assert made == ["a.jpg", "deep/d.webp", "e ä.tif"]
    prepare(str(folder), tmp_path / "whole", run=SERIAL)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_folder_is_of_one_source_and_one_choice(folder, tmp_path):
    first = prepare(str(folder), tmp_path / "out", run=SERIAL)
    assert prepare(str(folder), tmp_path / "out", run=SERIAL) == first
    with pytest.raises(UserError, match=r"written as photos as large as they are, not as photos whose shortest"):
        prepare(str(folder), tmp_path / "out", rules=PhotoRules(shortest_side=9), run=SERIAL)
    (folder / "new.jpg").write_bytes(jpeg(20, 30))
    with pytest.raises(UserError, match="in changed"):
        prepare(str(folder), tmp_path / "out", run=SERIAL)


def test_ids_stay_when_photos_are_added(folder, tmp_path):
    prepare(str(folder), tmp_path / "out", run=SERIAL)
    (folder / "aa.jpg").write_bytes(jpeg(20, 30))
    prepare(str(folder), tmp_path / "more", run=SERIAL)
    before, after = (
        {record.file_name: record.image_id for record in read_all(tmp_path / name)} for name in ("out", "more")
    )
    assert after == {**before, "aa.jpg": image_id_of("aa.jpg")}


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("number", [7, 2**31 - 2])
def test_photos_of_one_id_get_the_next_that_is_free(folder, tmp_path, monkeypatch, number):
    """In one shard and across shards; nothing is dropped."""
    monkeypatch.setattr(photo_units, "image_id_of", lambda name: number)
    report = prepare(str(folder), tmp_path / "out", run=SERIAL)
    assert (report.records, report.dropped) == (5, 0)
    ids = [record.image_id for record in read_all(tmp_path / "out")]
    assert ids == [(number + step) % 2**31 for step in range(5)]
    assert verify(str(tmp_path / "out")).problems == ()


@pytest.mark.usefixtures("small_shards")
def test_a_publishing_that_ended_when_ids_had_moved_goes_on(folder, tmp_path, monkeypatch):
    """Shards that were written again are made again from what was there before."""
    monkeypatch.setattr(photo_units, "image_id_of", lambda name: 7)
    prepare(str(folder), tmp_path / "whole", run=SERIAL)

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(OutFolder, "_write_metadata", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(str(folder), tmp_path / "out", run=SERIAL)
    assert len(list((tmp_path / "out").glob("photos-*"))) == 3
    prepare(str(folder), tmp_path / "out", run=SERIAL)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_free_id_is_one_that_no_photo_has_anywhere():
    shards = [ShardResult(path="x", key=str(ids), fingerprint="", ids=ids) for ids in ((1, 2), (2, 3), (3, 5))]
    changed = with_free_ids(shards, [np.array([], int), np.array([0]), np.array([0])])
    assert [result.ids for result in changed] == [(1, 2), (4, 3), (6, 5)]


def test_a_damaged_photo_is_found_by_verify(folder, tmp_path):
    out = tmp_path / "out"
    prepare(str(folder), out, run=SERIAL)
    (shard,) = out.glob("photos-train.array_record-*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    problems = verify(str(out)).problems
    assert any("SHA-256" in problem for problem in problems)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--longest-side", "9"], "--longest-side is for --format photos"),
        (["--format", "photos", "--longest-side", "9", "--shortest-side", "9"], "give one of them"),
        (["--format", "photos", "--longest-side", "0"], "--longest-side is 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(folder, tmp_path, capsys, arguments, says):
    assert main(["data", "prepare", "--source", str(folder), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_inspect_refuses_photos_without_masks(folder, tmp_path, capsys):
    prepare(str(folder), tmp_path / "out", run=SERIAL)
    assert main(["data", "inspect", str(tmp_path / "out"), "--out", str(tmp_path / "seen")]) == 2
    assert "holds photos without masks" in capsys.readouterr().err
    assert not (tmp_path / "seen").exists()


def test_a_photo_twice_in_a_tar_is_read_once(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for _ in range(2):
            member = tarfile.TarInfo("1.jpg")
            member.size = len(FILES["a.jpg"])
            archive.addfile(member, io.BytesIO(FILES["a.jpg"]))
    report = prepare(str(tmp_path / "x.tar"), tmp_path / "out", run=SERIAL)
    assert (report.records, report.reasons) == (1, {"duplicate": 1})
