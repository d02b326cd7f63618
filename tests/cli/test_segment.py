"""`samjax segment` and `samjax evaluate semantic` as they are typed."""

import json

import numpy as np
import pytest
from helpers.tiny_dense import save_dense, tiny_dense
from PIL import Image

from samjax.checkpoint.load import model_record
from samjax.checkpoint.weights import save_weights
from samjax.cli.main import main
from samjax.predict.semantic.semantic_predictor import SemanticPredictor

NAMES = ("ground", "red", "blue")
TABLE = {"ignore": [255], "classes": [{"name": name, "values": [value]} for value, name in enumerate(NAMES)]}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_dense(tiny_dense(class_names=NAMES), tmp_path_factory.mktemp("dense") / "weights")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos and their label maps; two photos of one name."""
    path, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for place, name in enumerate(("a/1.png", "a/2.png", "b/1.png")):
        coarse = draw.integers(0, 256, (4, 6, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((90, 70), Image.Resampling.BICUBIC)
        labels = np.full((70, 90), place, np.uint8)
        labels[:20], labels[60:] = 1, 255
        for kind, picture in (("images", photo), ("maps", Image.fromarray(labels))):
            (path / kind / name).parent.mkdir(parents=True, exist_ok=True)
            picture.save(path / kind / name)
    (path / "table.json").write_text(json.dumps(TABLE))
    return path


@pytest.fixture(scope="module")
def records(folder):
    given = ("--annotations", folder / "maps", "--images", folder / "images", "--classes", folder / "table.json")
    out = folder / "records"
    command = ("data", "prepare", "--format", "label-maps", *given, "--out", out, "--split", "val", "--workers", "1")
    assert main([str(word) for word in command]) == 0
    return out


def segment(checkpoint, folder, out, *options) -> int:
    return main(["segment", "--checkpoint", str(checkpoint), "--images", f"{folder}/images/*/*.png", "--out", str(out),
                 *options])  # fmt: skip


def test_label_maps_hold_what_the_predictor_says(checkpoint, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert segment(checkpoint, folder, out) == 0
    assert "3 photos in" in capsys.readouterr().out
    about = json.loads((out / "segment.json").read_text())
    assert about["classes"] == list(NAMES)
    assert sorted(about["photos"].values()) == ["1", "1_2", "2"]
    predictor = SemanticPredictor.from_checkpoint(checkpoint)
    for photo, name in about["photos"].items():
        with Image.open(out / "labels" / f"{name}.png") as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(picture, predictor.predict(photo))
            assert tuple(picture.getpalette()[3:6]) == predictor.colours[1]
        with Image.open(out / "overlays" / f"{name}.png") as picture:
            assert picture.width > 90  # the legend

    (out / "labels" / "2.png").unlink()
    kept = (out / "labels" / "1.png").stat().st_mtime_ns
    assert segment(checkpoint, folder, out) == 0
    assert "has 2 of 3 photos already" in capsys.readouterr().out
    assert (out / "labels" / "2.png").exists()
    assert (out / "labels" / "1.png").stat().st_mtime_ns == kept

    assert segment(checkpoint, folder, out, "--flip") == 2
    assert "was begun with settings" in capsys.readouterr().err


def test_labels_alone_and_a_photo_that_cannot_be_read(checkpoint, folder, tmp_path, capsys):
    (tmp_path / "images" / "c").mkdir(parents=True)
    (tmp_path / "images" / "c" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "images" / "c" / "good.png").write_bytes((folder / "images" / "a" / "1.png").read_bytes())
    assert segment(checkpoint, tmp_path, tmp_path / "out", "--labels-only") == 2
    assert "1 of 2 photos could not be read" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out" / "labels").iterdir()] == ["good.png"]
    assert not any((tmp_path / "out" / "overlays").iterdir())


def test_a_folder_of_something_else_is_left_alone(checkpoint, folder, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert segment(checkpoint, folder, tmp_path) == 2
    assert "holds mine.txt, not of samjax segment: give another folder" in capsys.readouterr().err


def evaluate(checkpoint, data, out, *options) -> int:
    given = {"--checkpoint": checkpoint, "--data": data, "--out": out}
    return main(["evaluate", "semantic", *(str(word) for option in given.items() for word in option), *options])


def test_scores_are_of_one_matrix_at_the_photos_resolution(checkpoint, folder, records, tmp_path, capsys):
    assert evaluate(checkpoint, records, tmp_path / "out") == 0
    predictor = SemanticPredictor.from_checkpoint(checkpoint)
    both, union = np.zeros(3), np.zeros(3)
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        truth = np.asarray(Image.open(folder / "maps" / name)).astype(int)
        predicted, counted = predictor.predict(folder / "images" / name), truth != 255
        for number in range(3):
            own, found = (truth == number) & counted, (predicted == number) & counted
            both[number] += (own & found).sum()
            union[number] += (own | found).sum()
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {row["name"]: row["metrics"] for row in results["rows"]}
    for number, name in enumerate(NAMES):
        assert rows[name]["mIoU"] == pytest.approx(100 * both[number] / union[number])
    assert rows["all of val"]["mIoU"] == pytest.approx(100 * (both / union).mean())
    for name in ("classes.png", "confusion.png", "worst.png", "photos.csv", "table.txt"):
        assert (tmp_path / "out" / name).exists()

    lines = (tmp_path / "out" / "photos.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "photos.jsonl").write_text(lines[0])  # as a kill leaves it
    before = (tmp_path / "out" / "results.json").read_text()
    assert evaluate(checkpoint, records, tmp_path / "out", "--resume") == 0
    assert (tmp_path / "out" / "results.json").read_text() == before


def test_records_of_photos_alone_are_refused(checkpoint, folder, tmp_path, capsys):
    command = ("data", "prepare", "--format", "photos", "--source", folder / "images", "--out", tmp_path / "records")
    assert main([*map(str, command), "--split", "val", "--workers", "1"]) == 0
    assert evaluate(checkpoint, tmp_path / "records", tmp_path / "out") == 2
    assert "holds photos alone: give records of `samjax data prepare --classes`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classes": 2}, "the data has 3 classes, the model 2"),
        ({"class_names": ("ground", "green", "blue")}, "class 1 is 'red' in the data, and 'green' in the model"),
    ],
    ids=["number", "names"],
)
def test_data_of_other_classes_is_refused(changes, sentence, records, tmp_path, capsys):
    assert evaluate(save_dense(tiny_dense(**changes), tmp_path / "weights"), records, tmp_path / "out") == 2
    assert sentence in capsys.readouterr().err


def test_a_checkpoint_of_another_model_is_refused(folder, tmp_path, capsys, micro):
    save_weights(tmp_path / "sam", params={"a": np.zeros(1, np.float32)}, buffers={}, config=model_record(micro))
    assert segment(tmp_path / "sam", folder, tmp_path / "out") == 2
    assert "segmentation needs a dense prediction model (DenseConfig)" in capsys.readouterr().err
