"""`samjax predict` as it is typed."""

import json

import numpy as np
import pytest
from PIL import Image

from samjax.checkpoint.weights import load_weights, save_weights
from samjax.cli.main import main
from samjax.data.rle import decode
from samjax.predict.engine import Engine
from samjax.predict.predictor import Predictor

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "cat.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)).save(path)
    return path


def run(checkpoint, photo, out, *options: str) -> int:
    return main(["predict", "--checkpoint", str(checkpoint), "--image", str(photo), "--out", str(out), *options])


@pytest.mark.parametrize(
    ("options", "prompts", "masks"),
    [
        (["--point", "70,20"], {"points": [[[70, 20]]], "labels": [[1]]}, 3),
        (["--box", "5,6,50.5,40"], {"boxes": [[5, 6, 50.5, 40]]}, 3),
        (
            ["--point", "70,20", "--point", "3,4,0", "--box", "5,6,50.5,40"],
            {"points": [[[70, 20], [3, 4]]], "labels": [[1, 0]], "boxes": [[5, 6, 50.5, 40]]},
            1,
        ),
        (["--point", "70,20", "--masks", "1"], {"points": [[[70, 20]]], "labels": [[1]]}, 1),
    ],
    ids=["point", "box", "all", "one mask"],
)
def test_what_is_written_is_what_the_predictor_says(options, prompts, masks, checkpoint, photo, tmp_path, capsys):
    assert run(checkpoint, photo, tmp_path / "out", *options) == 0
    predictor = Predictor(Engine.from_checkpoint(str(checkpoint)))
    predictor.set_image(np.array(Image.open(photo)))
    expected = predictor.predict(**prompts, multimask=masks == 3)
    said = json.loads((tmp_path / "out" / "cat.json").read_text())
    assert said["image"] == {"file_name": "cat.png", "width": 80, "height": 50}
    assert len(said["masks"]) == masks
    for mask, entry, iou in zip(expected.masks[0], said["masks"], expected.iou[0], strict=True):
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out" / entry["file_name"])), mask)
        np.testing.assert_array_equal(decode(entry["segmentation"]["counts"], height=50, width=80), mask)
        assert entry["area"] == mask.sum()
        assert entry["predicted_iou"] == pytest.approx(iou, abs=1e-5)
    with Image.open(tmp_path / "out" / "cat_overlay.png") as overlay:
        assert overlay.width > 80 * masks
    assert len(list((tmp_path / "out").iterdir())) == masks + 2
    assert "cat_mask1.png: predicted IoU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "there is no prompt"),
        (["--point", "7"], "--point 7: expected 2 or 3 numbers"),
        (["--point", "a,b"], "--point a,b: expected 2 or 3 numbers"),
        (["--point", "7,8,2"], "labels are 1 on the object and 0 beside it"),
        (["--point", "7,800"], "(7, 800) is outside the photo, which is 80 wide and 50 high"),
        (["--point", "nan,1"], "points must be finite numbers"),
        (["--box", "1,2,3"], "--box 1,2,3: expected 4 numbers"),
        (["--box", "9,2,3,4"], "x0 <= x1"),
        (["--point", "7,8", "--colour"], "does not know --colour"),
        (["--point", "7,8", "--image", "nothing.jpg"], "nothing.jpg: no such file"),
        (["--point", "7,8", "--checkpoint", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(options, sentence, checkpoint, photo, tmp_path, capsys):
    assert run(checkpoint, photo, tmp_path / "out", *options) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("samjax: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(checkpoint, photo, tmp_path, capsys):
    (tmp_path / "cat_overlay.png").write_text("mine")
    assert run(checkpoint, photo, tmp_path, "--point", "7,8") == 2
    assert "cat_overlay.png is there already" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_backbone_alone_predicts_nothing(checkpoint, photo, tmp_path, capsys):
    whole = load_weights(checkpoint)
    backbone = {"image_encoder": whole.params["image_encoder"]}
    save_weights(tmp_path / "backbone", params=backbone, buffers={}, config=whole.config)
    assert run(tmp_path / "backbone", photo, tmp_path / "out", "--point", "7,8") == 2
    assert "are not of the model that their config describes" in capsys.readouterr().err
