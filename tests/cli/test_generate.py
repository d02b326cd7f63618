"""`samjax generate` as it is typed: what it writes is a data set, and it goes on where it ended."""

import json
import re

import numpy as np
import pytest
from PIL import ExifTags, Image

from data_pipelines.sa1b import prepare
from samjax.cli import generate
from samjax.cli.generate import find_photos
from samjax.cli.main import main
from samjax.data import photo_ids
from samjax.data.masks.rle import decode
from samjax.data.photo_ids import assign_ids
from samjax.data.records.masks import decode_record
from samjax.data.stream.sources import is_sa1b_layout, open_source
from samjax.predict.automatic import mask_folder
from samjax.predict.promptable.photo_input import read_photo

LOOSE = {
    "--points-per-side": "3",
    "--points-per-batch": "9",
    "--pred-iou-threshold": "0",
    "--stability-threshold": "0",
    "--box-nms-threshold": "1",
}


pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A JPEG, one that EXIF turns, a PNG, and a JPEG that is called as SA-1B's are."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    greys = [draw.integers(0, 256, (40 + 8 * k, 60, 1), dtype=np.uint8) for k in range(4)]
    pixels = [np.repeat(grey, 3, axis=-1) for grey in greys]  # which a JPEG keeps best
    Image.fromarray(pixels[0]).save(folder / "beach.jpg")
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels[1]).save(folder / "turned.jpg", exif=turned)
    Image.fromarray(pixels[2]).save(folder / "drawing.png")
    Image.fromarray(pixels[3]).save(folder / "sa_77.jpg")
    return folder


def run(checkpoint, images, out, *options: str) -> int:
    asked = {"--checkpoint": str(checkpoint), "--images": str(images), "--out": str(out), **LOOSE}
    given = [word for option, value in asked.items() if option not in options for word in (option, value)]
    return main(["generate", *given, *options])


@pytest.fixture(scope="module")
def generated(checkpoint, pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert run(checkpoint, pictures / "*", out, "--draw", "--batch-size", "8") == 0
    return out


def by_source(out) -> dict[str, dict]:
    described = [json.loads(path.read_text()) for path in out.glob("sa_*.json")]
    return {one["image"]["source"].rsplit("/", 1)[-1]: one for one in described}


def test_the_folder_is_a_training_source(generated, pictures, tmp_path):
    """The project's own reader drops nothing of it, and reads the masks that were written."""
    assert is_sa1b_layout(str(generated))
    report = prepare(str(generated), tmp_path / "records")
    assert (report.records, report.dropped) == (4, 0)
    source = open_source(str(tmp_path / "records"), "train")
    records = {record.image_id: record for record in (decode_record(source[i]) for i in range(len(source)))}
    written = by_source(generated)
    assert len(records) == len(written) == 4
    for one in written.values():
        record = records[one["image"]["image_id"]]
        assert [mask["area"] for mask in one["annotations"]] == [mask.area for mask in record.annotations]
        assert len(record.annotations) > 0
    assert len({mask.id for record in records.values() for mask in record.annotations}) == report.masks


def test_masks_lie_on_the_photo_that_is_written(generated, pictures):
    """A JPEG is copied to the byte; one that EXIF turns is written upright, as its masks are."""
    written = by_source(generated)
    for name in ("beach.jpg", "sa_77.jpg"):
        assert (generated / written[name]["image"]["file_name"]).read_bytes() == (pictures / name).read_bytes()
    assert written["sa_77.jpg"]["image"]["image_id"] == 77
    for name, one in written.items():
        upright = read_photo(pictures / name)
        with Image.open(generated / one["image"]["file_name"]) as stored:
            assert stored.format == "JPEG"
            assert stored.getexif().get(ExifTags.Base.Orientation, 1) == 1
            pixels = np.asarray(stored).astype(int)
        assert pixels.shape == upright.shape == (one["image"]["height"], one["image"]["width"], 3)
        assert np.abs(pixels - upright).mean() < 5
        for mask in one["annotations"]:
            height, width = mask["segmentation"]["size"]
            y, x = np.nonzero(decode(mask["segmentation"]["counts"], height=height, width=width))
            assert mask["bbox"] == [x.min(), y.min(), x.max() - x.min(), y.max() - y.min()]
        with Image.open(generated / "overlays" / f"sa_{one['image']['image_id']}.png") as overlay:
            assert overlay.width > 60


@pytest.mark.parametrize("suffix", [".jpg", ".json"])
def test_it_goes_on_where_it_was_killed(suffix, generated, checkpoint, pictures, tmp_path, monkeypatch, capsys):
    """Killed while it writes the third photo, it does that and the fourth again, the others not, to equal files."""
    write, count = mask_folder.write_whole, 0

    def dies(path, content):
        nonlocal count
        count += path.suffix == suffix and path.name.startswith("sa_")
        if count == 3:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(mask_folder, "write_whole", dies)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, pictures / "*", tmp_path)
    monkeypatch.undo()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("sa_*.json")}
    assert len(before) == 2
    assert run(checkpoint, pictures / "*", tmp_path) == 0
    assert "has 2 of 4 photos already" in capsys.readouterr().out
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before
    names = sorted(path.name for path in generated.glob("sa_*"))
    assert sorted(path.name for path in tmp_path.glob("sa_*")) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (generated / name).read_bytes()
    assert not list(tmp_path.glob(".*partial"))


def test_ids_last(generated, checkpoint, pictures):
    """A photo keeps its id when others are added; a number that is taken goes to no second photo."""
    said = json.loads((generated / "generate.json").read_text())["photos"]
    more = ["/elsewhere/sa_77.png", "/elsewhere/77.jpg", "/elsewhere/beach.jpg", *said]
    ids = assign_ids(said, more)
    assert {photo: ids[photo] for photo in said} == said
    assert len(set(ids.values())) == len(ids) == 7
    assert max(ids.values()) < 2**31


def test_many_photos_of_one_name_cost_a_hash_each(monkeypatch):
    """Cameras name photos alike in thousands of folders: trying all hashes from the first would take days."""
    hashed = []
    once = photo_ids._hash
    monkeypatch.setattr(photo_ids, "_hash", lambda *names: hashed.append(names) or once(*names))
    keys = [f"/{folder}/{name}.jpg" for folder in range(300) for name in ("frame", "1")]
    assert len(set(assign_ids({}, keys).values())) == 600
    assert len(hashed) < 2 * len(keys)


def test_what_came_nearest_is_told_where_nothing_passes(checkpoint, pictures, tmp_path, capsys):
    assert run(checkpoint, pictures / "*.jpg", tmp_path / "out", "--pred-iou-threshold", "1") == 0
    said = capsys.readouterr().out
    assert re.search(r"3 of 3 photos have no mask that passes the thresholds, such as .*\.jpg\. The highest", said)
    assert re.search(
        r"predicted IoU on them is 0\.\d+, --pred-iou-threshold 1; stability is measured above that threshold only\n",
        said,
    ), said


def test_what_cannot_be_read_is_named_and_the_rest_done(checkpoint, pictures, tmp_path, capsys):
    broken = tmp_path / "photos"
    broken.mkdir()
    (broken / "a.jpg").write_bytes((pictures / "beach.jpg").read_bytes()[:900])
    (broken / "b.jpg").write_text("no photo")
    (broken / "c.jpg").write_bytes((pictures / "beach.jpg").read_bytes())
    assert run(checkpoint, broken / "*.jpg", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "2 of 3 photos could not be read" in said.err
    assert "a.jpg" in said.err
    assert "b.jpg is not a picture" in said.err
    assert "The other 1 are done" in said.err
    assert "1 photos" in said.out
    assert "images/s" in said.out
    assert len(list((tmp_path / "out").glob("sa_*.json"))) == 1


def test_photos_are_found_by_name_before_pattern_and_others_are_counted(tmp_path, capsys):
    folder = tmp_path / "run [a]"
    folder.mkdir()
    for name in ("photo[1].png", "b.jpg", "c.JPG", "notes.txt", ".hidden"):
        (folder / name).touch()
    (one,) = find_photos([f"{folder}/photo[1].png"], out=tmp_path / "out")
    assert one.key == f"{folder}/photo[1].png"
    found = find_photos([f"{folder}/*.jpg", f"{folder}/photo[1].png", f"{folder}/b.jpg"], out=tmp_path / "out")
    assert [place.key for place in found] == [f"{folder}/b.jpg", f"{folder}/photo[1].png"]
    assert (
        "does not match 2 other files in the same folders, such as " + str(folder / "c.JPG") in capsys.readouterr().out
    )


def test_images_may_be_given_several_times(checkpoint, pictures, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(generate, "find_photos", lambda patterns, out: seen.extend(patterns) or [][0])
    with pytest.raises(IndexError):
        run(checkpoint, pictures / "*.jpg", tmp_path / "out", "--images", "a", "b", "--images", "c")
    assert seen == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--images", "nothing/*.jpg"], "--images nothing/*.jpg matches nothing"),
        (["--points-per-side", "0"], "points_per_side is 0; it must be at least 1"),
        (["--masks-per-point", "2"], "masks_per_point is 2; it must be 1 or 3"),
        (["--box-nms-threshold", "1.5"], "box_nms_threshold is 1.5; it must be between 0 and 1"),
        (["--crop-layers", "2", "--points-downscale", "4"], "leaves no point in layer 2"),
        (["--crop-layers", "9"], "crop_layers is 9"),
        (["--points-per-sides", "4"], "bad override"),
        (["--batch-size", "3"], "give a multiple of 8"),
        (["--crop-layers", "1", "--crop_layers", "2"], "--crop_layers is given twice, as --crop-layers too"),
        (["--preset", "sa1b", "--preset", "default"], "--preset is given twice, as sa1b and as default"),
        (["--checkpoint", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(options, sentence, checkpoint, pictures, tmp_path, capsys):
    assert run(checkpoint, pictures / "*", tmp_path / "out", *options) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_told_before_the_work(checkpoint, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("samjax.predict.engine.Engine.from_checkpoint", lambda *_: pytest.fail("weights were read"))
    (tmp_path / "file").write_text("mine")
    for out, said in [(tmp_path / "file", "is a file, expected a folder"), ("/proc/1/out", "cannot be written")]:
        assert run(checkpoint, pictures / "*", out) == 2
        assert f"{out}" in (told := capsys.readouterr().err)
        assert said in told


def test_a_folder_of_other_masks_is_left_alone(generated, checkpoint, pictures, tmp_path, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in generated.iterdir()}
    assert run(checkpoint, pictures / "*", generated, "--crop-layers", "1") == 2
    assert "holds masks made with crop_layers 0, now it is 1" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in generated.iterdir()} == before
    (tmp_path / "mine.txt").touch()
    assert run(checkpoint, pictures / "*", tmp_path) == 2
    assert "holds mine.txt" in capsys.readouterr().err
    assert run(checkpoint, pictures / "*", pictures) == 2
    assert "which is in --out" in capsys.readouterr().err
