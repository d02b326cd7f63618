"""`samjax generate --tune` and `--settings` as they are typed."""

import dataclasses
import json
import shutil

import pytest
from helpers.made_annotations import rectangles, write_formats

from samjax.cli import tuning_options
from samjax.cli.main import main
from samjax.eval.results import Results
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.settings_file import read_settings

pytestmark = pytest.mark.usefixtures("compiled_once")

GRID = ("--points-per-side", "2", "--points-per-batch=4", "--crop-layers", "0")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three photos of noise with rectangles, in COCO's format; the last has none."""
    folder = tmp_path_factory.mktemp("data")
    masks = rectangles((2, 3, 14, 20), (15, 22, 22, 30))
    write_formats(folder, {"a.png": masks, "b.png": masks[:1], "c.png": []})
    return folder


def tune(checkpoint, data, out, *options: str, images: str = "images", annotations: str = "coco.json") -> int:
    given = ["--checkpoint", str(checkpoint), "--tune", str(data / annotations), "--images", str(data / images)]
    return main(["generate", *given, "--out", str(out), *options])


@pytest.mark.slow
def test_what_it_chooses_is_used(checkpoint, data, tmp_path, capsys):
    """Fixed settings stay in the file, and masks that are generated with it score what it says."""
    assert tune(checkpoint, data, tmp_path / "tuned", *GRID, "--allow-unannotated") == 0
    said = capsys.readouterr().out
    file = tmp_path / "tuned" / "generator.json"
    assert "AP50" in said
    assert f"--settings {file} --images 'photos/*.jpg'" in said
    settings, content = read_settings(file), json.loads(file.read_text())
    assert (settings.points_per_side, settings.crop_layers) == (2, 0)
    assert content["fixed"] == ["crop_layers", "points_per_batch", "points_per_side"]
    assert content["data"]["objects"] == 3
    assert content["after"]["photos"] == 3
    before = {name: value for name, value in content["before"].items() if name != "settings"}
    assert before["ap50"] <= content["after"]["ap50"] + 0.005
    given = ["--checkpoint", str(checkpoint), "--settings", str(file), "--images", str(data / "images" / "*.png")]
    assert main(["generate", *given, "--out", str(tmp_path / "masks")]) == 0
    truth = ["--annotations", str(data / "coco.json"), "--images", str(data / "images"), "--allow-unannotated"]
    results = ["--predictions", str(tmp_path / "masks"), *truth, "--out", str(tmp_path / "results")]
    assert main(["evaluate", "masks", *results]) == 0
    _, every = Results.read(tmp_path / "results").rows
    scores = {name: every.metrics[name] for name in ("AP50", "F1@50", "masks per photo")}
    after = content["after"]
    assert scores == pytest.approx(
        {"AP50": 100 * after["ap50"], "F1@50": 100 * after["f1"], "masks per photo": after["masks"] / 3}
    )
    written = read_settings(tmp_path / "masks" / "generate.json")
    assert written == dataclasses.replace(settings, points_per_batch=written.points_per_batch)
    assert tune(checkpoint, data, tmp_path / "tuned", *GRID) == 2
    assert "holds a generator.json already" in capsys.readouterr().err


def test_the_same_data_give_the_same_settings(checkpoint, data, tmp_path):
    """A pattern of all photos is their folder; `--limit` takes the first."""
    files = []
    for name, images in (("a", "images"), ("b", "images/[ab].png")):
        assert tune(checkpoint, data, tmp_path / name, *GRID, "--limit", "1", "--allow-unannotated", images=images) == 0
        content = json.loads((tmp_path / name / "generator.json").read_text())
        assert content["after"]["photos"] == 1
        del content["data"]["images"]
        files.append(content)
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "1 images without annotations (3). Fix it, or accept these with --allow-unannotated"),
        (("--draw",), "--draw is not for --tune"),
        (("--settings", "lost.json"), "--settings lost.json: no such file"),
        (("--settings", "a.json", "--preset", "sa1b"), "are both settings"),
        (("--limit", "0"), "--limit is 0"),
    ],
)
def test_options_that_cannot_be(options, says, checkpoint, data, tmp_path, capsys):
    assert tune(checkpoint, data, tmp_path / "out", *GRID, *options) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_annotations(checkpoint, data, tmp_path, capsys):
    """Photos that are missing, none that is annotated, patterns of none, and no annotations."""
    shutil.copytree(data / "images", tmp_path / "images")
    (tmp_path / "images" / "a.png").unlink()
    content = json.loads((data / "coco.json").read_text())
    (tmp_path / "coco.json").write_text(json.dumps(content))
    (tmp_path / "none.json").write_text(json.dumps({**content, "annotations": []}))

    def refused(**options: str) -> str:
        assert tune(checkpoint, tmp_path, tmp_path / "out", *GRID, **options) == 2
        said = capsys.readouterr()
        assert not said.out
        return said.err

    assert "1 images whose photo is missing" in refused()
    assert "images without annotations" in refused(annotations="none.json")
    assert "matches no photo" in refused(images="images/*.jpg")
    assert "no such file" in refused(annotations="lost.json")
    crowds = [{**one, "iscrowd": 1, "segmentation": crowd_of(one, content)} for one in content["annotations"]]
    (tmp_path / "crowds.json").write_text(json.dumps({**content, "annotations": crowds}))
    arguments = ("--allow-missing", "--allow-unannotated")
    assert tune(checkpoint, tmp_path, tmp_path / "out", *GRID, *arguments, annotations="crowds.json") == 2
    assert "has an object to score by" in capsys.readouterr().err


def crowd_of(annotation: dict, content: dict) -> dict:
    image = next(one for one in content["images"] if one["id"] == annotation["image_id"])
    pixels = image["height"] * image["width"]
    return {"size": [image["height"], image["width"]], "counts": [0, pixels // 2, pixels - pixels // 2]}


def test_a_setting_on_the_command_line_replaces_the_files(checkpoint, data, tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text('{"settings": {"points_per_side": 7, "crop_layers": 1}}')
    configs = []
    monkeypatch.setattr(
        tuning_options, "tune_settings", lambda known, config, rest, checkpoint: configs.append(config) or 0
    )
    options = ("--settings", str(tmp_path / "a.json"), "--points-per-side", "9")
    assert tune(checkpoint, data, tmp_path / "out", *options) == 0
    assert configs == [GeneratorConfig(points_per_side=9, crop_layers=1)]


@pytest.mark.parametrize("option", ["--limit=3", "--tune-metric=f1", "--allow-missing", "--allow-unannotated"])
def test_options_of_tuning_need_it(option, checkpoint, data, tmp_path, capsys):
    images = ["--images", str(data / "images" / "*.png")]
    assert main(["generate", "--checkpoint", str(checkpoint), *images, "--out", str(tmp_path / "o"), option]) == 2
    assert f"{option.split('=')[0]} is for --tune" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
