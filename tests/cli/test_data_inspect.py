import json

import numpy as np
import pytest
from PIL import Image

from samjax.cli import data_inspect
from samjax.cli.main import main

FILES = ["batch.png", "histograms.png", "inspection.json"]


def inspect(*arguments):
    return main(["data", "inspect", *(str(argument) for argument in arguments)])


def refused(capsys, *arguments):
    """Return the sentence that the command ends with."""
    assert inspect(*arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("samjax: ")
    assert "\n" not in said
    return said


@pytest.fixture
def experiment(tmp_path, prepared):
    """An experiment whose rules leave small masks out."""

    def write(**data):
        path = tmp_path / "mine.py"
        path.write_text(
            "from samjax.data.masks.mask_data import MaskDataConfig\n"
            "from samjax.models.sam.sam import SamConfig\n"
            "from samjax.tasks.promptable import PromptableTraining\n"
            "def config():\n"
            f"    data = MaskDataConfig(source={str(prepared / 'val')!r}, split='val', max_masks=4, **{data})\n"
            "    return PromptableTraining(model=SamConfig.tiny(), data=data, seed=3)\n"
        )
        return path

    return write


@pytest.mark.parametrize("kind", ["tars", "prepared", "synthetic"])
def test_everything_training_takes_can_be_looked_at(capsys, kind, photos, prepared, tmp_path):
    source, total, masks = {
        "tars": (photos / "train", 42, 361),
        "prepared": (prepared / "train", 42, 361),
        "synthetic": ("synthetic:photos=9,size=64x96,masks=8", 9, None),
    }[kind]
    out = tmp_path / "out"
    assert inspect(source, "--out", out, "--photos", 2, "--image-size", 64, 96) == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    found = json.loads((out / "inspection.json").read_text())
    assert found["records"]["photos"] == found["records"]["total"] == total
    assert found["records"]["masks"] == masks or kind == "synthetic"
    assert found["batch"]["image_size"] == [64, 96]
    assert len(set(found["batch"]["record_ids"])) == 2
    assert (found["prepared"] is not None) == (kind == "tars")
    said = capsys.readouterr().out
    assert f"all {total}; {total} photos" in said
    assert str(source) in said
    for name in FILES[:2]:
        with Image.open(out / name) as picture:
            assert np.asarray(picture).std() > 20


def test_an_experiment_gives_source_rules_frame_and_seed(capsys, experiment, tmp_path):
    assert inspect("--experiment", experiment(min_area_fraction=0.02), "--out", tmp_path / "o", "--photos", 4) == 0
    found = json.loads((tmp_path / "o/inspection.json").read_text())
    assert found["seed"] == 3
    assert found["batch"]["image_size"] == [128, 128]
    assert found["batch"]["counts"]["masks_too_small"] > 0
    assert "masks too small" in capsys.readouterr().out
    assert inspect("--experiment", experiment(), "--out", tmp_path / "p", "--photos", 4, "--seed", 4) == 0
    assert (
        json.loads((tmp_path / "p/inspection.json").read_text())["batch"]["record_ids"] != found["batch"]["record_ids"]
    )


def test_a_sample_is_said_to_be_one(capsys, prepared, tmp_path):
    arguments = (prepared / "train", "--out", tmp_path / "o", "--photos", 1, "--image-size", 64, 64)
    assert inspect(*arguments, "--records", 10) == 0
    assert "10 drawn at random of 42" in capsys.readouterr().out
    assert json.loads((tmp_path / "o/inspection.json").read_text())["records"]["sampled"] == 10
    assert inspect(*arguments) == 0, "an earlier inspection is replaced"
    assert json.loads((tmp_path / "o/inspection.json").read_text())["records"]["sampled"] == 42


def test_of_many_tars_one_is_enough(capsys, monkeypatch, photos, tmp_path):
    (tmp_path / "tars").mkdir()
    for name, split in (("sa_0.tar", "val"), ("sa_1.tar", "train")):
        (tmp_path / "tars" / name).symlink_to(photos / split / "sa_000000.tar")
    monkeypatch.setattr(data_inspect, "_MOST_TARS", 1_000)
    arguments = ("--out", tmp_path / "o", "--photos", 1, "--image-size", 64, 64)
    assert inspect(tmp_path / "tars", *arguments) == 0
    assert "inspecting only its first tar" in capsys.readouterr().out
    assert json.loads((tmp_path / "o/inspection.json").read_text())["records"]["total"] == 53


def test_the_counts_are_there_even_where_nothing_can_be_drawn(capsys, experiment, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o/batch.png").write_bytes(b"of an earlier inspection")
    said = refused(
        capsys, "--experiment", experiment(min_area_fraction=0.999, max_area_fraction=1.0), "--out", tmp_path / "o"
    )
    assert "none of" in said
    assert "can be used" in said
    assert not (tmp_path / "o/batch.png").exists()
    assert json.loads((tmp_path / "o/inspection.json").read_text())["records"]["photos"] == 53


def test_what_cannot_be_inspected_is_refused_in_one_sentence(capsys, photos, prepared, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("")
    out = ("--out", tmp_path / "o")
    for said, arguments in {
        "is not a folder": (tmp_path / "none", *out),
        "holds no dataset_info.json": (tmp_path / "empty", *out),
        "no split 'test'": (prepared / "train", "--split", "test", *out),
        "did you mean photos": ("synthetic:photo=3", *out),
        "give SOURCE": out,
        "--photos is 0": (prepared / "train", "--photos", 0, *out),
        "--records is -1": (prepared / "train", "--records", -1, *out),
        "must be at least 1": (prepared / "train", "--image-size", 0, 64, *out),
        "no such experiment": (prepared / "train", "--experiment", tmp_path / "none.py", *out),
        "does not know --fotos": (prepared / "train", "--fotos", "3", *out),
        "notes.txt": (prepared / "train", "--out", tmp_path / "full"),
        "cannot be written": (prepared / "train", "--out", tmp_path / "file"),
        "file/o cannot be written": (prepared / "train", "--out", tmp_path / "file/o"),
        "seed is -1": (prepared / "train", "--seed", -1, *out),
    }.items():
        assert said in refused(capsys, *arguments), arguments
    assert (tmp_path / "full/notes.txt").read_text() == "mine"
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["notes.txt"]


def test_it_explains_itself(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["data", "inspect", "--help"])
    assert stop.value.code == 0
    assert "--image-size" in capsys.readouterr().out
