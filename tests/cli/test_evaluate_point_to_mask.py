"""`samjax evaluate point-to-mask` as it is typed."""

import json

import numpy as np
import pytest
from PIL import Image

from samjax.cli.main import main
from samjax.data import rle
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.results import Results

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """A COCO JSON of three photos with rectangles, another without, and its folder of photos."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "photos").mkdir()
    generator = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, 5):
        Image.fromarray(generator.integers(0, 256, (40, 56, 3), np.uint8)).save(folder / "photos" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 40, "width": 56})
        if number < 4:
            mask = np.zeros((40, 56), bool)
            mask[5 : 9 + 6 * number, 10:30] = True
            annotations.append({"id": number, "image_id": number, "category_id": 1, "segmentation": rle.encode(mask)})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (folder / "all.json").write_text(json.dumps(content))
    return folder


def run(coco, checkpoint, out, *options: str) -> int:
    data = ["--data", f"made={coco / 'all.json'}", "--images", str(coco / "photos")]
    data += [] if "--clicks" in options else ["--clicks", "1", "2"]
    return main(["evaluate", "point-to-mask", "--checkpoint", str(checkpoint), "--out", str(out), *data, *options])


@pytest.fixture(scope="module")
def evaluated(coco, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("points") / "out"
    assert run(coco, checkpoint, out, "--allow-missing") == 0
    return out


def test_results_table_and_pictures_are_written(evaluated):
    results = Results.read(evaluated)
    (row,) = results.rows
    assert (row.name, row.photos, row.masks) == ("made", 3, 3)
    assert row.left_out == {"images without annotations": 1}
    assert list(row.metrics) == ["miou@1", "miou@2", "oracle@1"]
    assert 0 <= row.metrics["miou@1"] <= row.metrics["oracle@1"] <= 1
    assert "1 images without annotations left out" in (evaluated / "table.txt").read_text()
    assert len((evaluated / "photos.csv").read_text().splitlines()) == 4
    for name in ("clicks.png", "worst.png"):
        with Image.open(evaluated / name) as picture:
            assert min(picture.size) > 300


def test_a_killed_one_goes_on_to_the_same_numbers(evaluated, coco, checkpoint, tmp_path, monkeypatch, capsys):
    class KilledError(BaseException):
        pass

    real = EvaluationFolder.record

    def dies_at_the_second(folder, key, result):
        if len(folder) == 1:
            raise KilledError
        real(folder, key, result)

    monkeypatch.setattr(EvaluationFolder, "record", dies_at_the_second)
    with pytest.raises(KilledError):
        run(coco, checkpoint, tmp_path / "out", "--allow-missing")
    monkeypatch.setattr(EvaluationFolder, "record", real)
    assert run(coco, checkpoint, tmp_path / "out", "--allow-missing") == 2
    assert "give --resume" in capsys.readouterr().err
    assert run(coco, checkpoint, tmp_path / "out", "--allow-missing", "--resume") == 0
    for name in ("results.json", "photos.jsonl", "photos.csv"):
        assert (tmp_path / "out" / name).read_text() == (evaluated / name).read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "1 images without annotations"),
        (("--allow-missing", "--clicks", "2", "1"), "clicks are"),
        (("--allow-missing", "--limit", "0"), "--limit is 0"),
        (("--allow-missing", "--most-masks", "0"), "--most-masks is 0"),
        (("--allow-missing", "--ingore", "3"), "ignore"),
        (("--allow-missing", "--data", "a=x.json"), "x.json: no such file"),
    ],
)
def test_bad_input_is_one_sentence(options, sentence, coco, checkpoint, tmp_path, capsys):
    assert run(coco, checkpoint, tmp_path / "out", *options) == 2
    assert sentence in capsys.readouterr().err
