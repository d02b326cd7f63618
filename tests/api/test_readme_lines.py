"""The lines of Python that README shows, run as they stand but for the size of the model and of the run."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.compiled_steps import share
from PIL import Image

import samjax
from samjax.api import training_run
from samjax.core.errors import UserError
from samjax.core.experiment import load_experiment
from samjax.parallel.mesh import make_mesh
from samjax.predict import engine
from samjax.training.config import TrainConfig

README = Path(__file__).parents[2] / "README.md"
PHOTOS = 24


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A folder with cells.json and cells/: grey photos with two bright squares each, annotated as COCO writes it."""
    folder = tmp_path_factory.mktemp("own_photos")
    (folder / "cells").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for photo in range(PHOTOS):
        pixels = np.full((60, 80, 3), 60, np.uint8)
        for x in rng.integers(2, 24), rng.integers(40, 64):
            y, side = int(rng.integers(2, 40)), 14
            pixels[y : y + side, x : x + side] = 220
            corners = [int(x), y, int(x) + side, y, int(x) + side, y + side, int(x), y + side]
            number = len(annotations) + 1
            box = [int(x), y, side, side]
            annotations.append(
                {"id": number, "image_id": photo, "category_id": 1, "iscrowd": 0, "bbox": box, "area": side * side}
                | {"segmentation": [corners]}
            )
        name = f"cell_{photo}.png"
        Image.fromarray(pixels).save(folder / "cells" / name)
        images.append({"id": photo, "file_name": name, "height": 60, "width": 80})
    categories = [{"id": 1, "name": "cell"}]
    (folder / "cells.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    (folder / "small.py").write_text(
        "from helpers.micro import micro_run\ndef config():\n    return micro_run('', steps=9)\n"
    )
    return folder


@pytest.mark.slow
def test_lines_of_readme_train_and_predict(cells, monkeypatch, capsys):
    (lines,) = re.findall(r"```python\n(import samjax\n.*?)```", README.read_text(), re.DOTALL)
    assert len([line for line in lines.splitlines() if line.strip()]) <= 11
    for shown, here in (('"experiments/sam/small.py"', '"small.py"'), ('"steps": 500', '"steps": 2')):
        assert lines.count(shown) == 1
        lines = lines.replace(shown, here)
    share(monkeypatch)
    one = jax.devices()[:1]
    monkeypatch.setattr(training_run, "make_mesh", lambda config: make_mesh(config, one))
    monkeypatch.setattr(engine, "make_mesh", lambda config: make_mesh(config, one))
    monkeypatch.chdir(cells)
    photo = np.asarray(Image.open("cells/cell_0.png"))
    names = {"photo": photo}
    exec(compile(lines, "README.md", "exec"), names)
    assert (names["run"].step, names["run"].is_over) == (2, True)
    assert {"miou@1", "miou@8"} <= set(names["run"].validation)
    assert names["answer"].masks.shape == (1, 3, 60, 80)
    assert "(1, 3, 60, 80)" in capsys.readouterr().out
    again = samjax.train(names["config"], workdir="runs/mine")
    assert (again.step, again.rows) == (2, names["run"].rows)


def test_errors_are_those_of_the_commands(cells, tmp_path):
    with pytest.raises(UserError, match="format is 'voc'; give one of coco, "):
        samjax.prepare(cells / "cells.json", tmp_path / "r", images=cells / "cells", format="voc")
    with pytest.raises(UserError, match=r"background_ is no field; did you mean background\?"):
        samjax.prepare(cells / "cells.json", tmp_path / "r", images=cells / "cells", background_=3)
    with pytest.raises(UserError, match="holdout"):
        samjax.prepare(cells / "cells.json", tmp_path / "r", images=cells / "cells", holdout=1.0)
    with pytest.raises(UserError, match="no such experiment file"):
        samjax.experiment("nowhere.py")
    with pytest.raises(UserError, match="nowhere"):
        samjax.load(tmp_path / "nowhere")
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        samjax.tarin  # noqa: B018


def test_an_experiment_takes_dotted_names(cells):
    config = samjax.experiment(cells / "small.py", {"data.max-masks": 2, "optim.schedule.peak_lr": 0.5})
    assert (config.data.max_masks, config.optim.schedule.peak_lr) == (2, 0.5)
    assert samjax.experiment(cells / "small.py") == load_experiment(cells / "small.py", TrainConfig)
