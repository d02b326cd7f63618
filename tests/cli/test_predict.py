"""`samjax predict` as it is typed."""

import json

import numpy as np
import pytest
from PIL import Image

from samjax.checkpoint.weights import load_weights, save_weights
from samjax.cli.main import main
from samjax.data.masks.rle import decode
from samjax.nn.spatial_attention import AttentionKernel
from samjax.predict.engine import Engine
from samjax.predict.promptable.predictor import Predictor

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "cat.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)).save(path)
    return path


def run(checkpoint, photo, out, *options: str) -> int:
    asked = {"--checkpoint": checkpoint, "--image": photo, "--out": out}
    given = [word for option, value in asked.items() if option not in options for word in (option, str(value))]
    return main(["predict", *given, *options])


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
        (["--box", "1,2,97.5,4"], "(97.5, 4) is outside the photo, which is 80 wide and 50 high"),
        (["--point", "7,8", "--box", "1,2,3,4", "--box", "5,6,7,8"], "has 2 boxes: give --object before the prompts"),
        (["--object", "--point", "7,8", "--object"], "object 2 has no prompt"),
        (["--object", "--box", "1,2,3,4", "--box", "5,6,7,8"], "object 1 has 2 boxes"),
        (["--point", "7,8", "--masks", "1", "--masks", "3"], "--masks is given twice, as 1 and as 3"),
        (["--point", "7,8", "--image", "a.png", "--image", "b.png"], "--image is given twice, as a.png and as b.png"),
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


@pytest.mark.parametrize(
    ("options", "objects"),
    [
        (["--box", "5,6,50.5,40", "--box=-0.5,0,20,20"], [{"box": [5, 6, 50.5, 40]}, {"box": [-0.5, 0, 20, 20]}]),
        (["--box", "-0.5,0,20,20", "--box", "9,9,30,30"], [{"box": [-0.5, 0, 20, 20]}, {"box": [9, 9, 30, 30]}]),
        (
            [
                *("--object", "--point", "70,20", "--point", "3,4,0"),
                *("--object", "--box", "9,9,30,30"),
                *("--object", "--point", "20,20", "--box", "9,9,30,30"),
            ],
            [
                {"points": [[70, 20], [3, 4]], "labels": [1, 0]},
                {"box": [9, 9, 30, 30]},
                {"points": [[20, 20]], "labels": [1], "box": [9, 9, 30, 30]},
            ],
        ),
    ],
    ids=["boxes", "a minus", "separated"],
)
def test_several_objects_are_each_what_they_are_alone(options, objects, checkpoint, photo, tmp_path, capsys):
    assert run(checkpoint, photo, tmp_path / "out", *options) == 0
    predictor = Predictor(Engine.from_checkpoint(str(checkpoint)))
    predictor.set_image(np.array(Image.open(photo)))
    count = 0
    for number, one in enumerate(objects, 1):
        said = json.loads((tmp_path / "out" / f"cat_object{number}.json").read_text())
        assert said["prompts"] == {"points": [], "labels": [], "box": None, **one}
        given = {"points": one.get("points"), "labels": one.get("labels"), "boxes": one.get("box")}
        kinds = 3 if len(given["points"] or []) + (given["boxes"] is not None) == 1 else 1
        alone = predictor.predict(
            **{name: None if value is None else [value] for name, value in given.items()}, multimask=kinds == 3
        )
        assert len(said["masks"]) == kinds
        for mask, entry in zip(alone.masks[0], said["masks"], strict=True):
            np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out" / entry["file_name"])), mask)
        count += kinds + 2
    assert len(list((tmp_path / "out").iterdir())) == count
    assert f"cat_object{len(objects)}_mask1.png: predicted IoU" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_told_before_the_work(checkpoint, photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Engine, "from_checkpoint", lambda *_, **__: pytest.fail("weights were read"))
    (tmp_path / "file").write_text("mine")
    for out, said in [
        (tmp_path / "file", "file is a file, expected a folder: give another --out"),
        (tmp_path / "file" / "below" / "out", "file is a file, expected a folder"),
        ("/proc/1/out", "/proc/1/out cannot be written"),
    ]:
        assert run(checkpoint, photo, out, "--point", "7,8") == 2
        assert said in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_written_over(checkpoint, photo, tmp_path, capsys):
    (tmp_path / "cat_overlay.png").write_text("mine")
    assert run(checkpoint, photo, tmp_path, "--point", "7,8") == 2
    assert "cat_overlay.png exists already" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("attention", ["splash", "cudnn", "a kernel of another version"])
def test_a_checkpoint_of_another_platform_predicts_here(attention, checkpoint, tmp_path):
    """The attention kernel and what is kept for the gradient belong to the run; elsewhere it is AUTO."""
    whole = load_weights(checkpoint)
    model = whole.config["model"]
    config = {"model": {**model, "image_encoder": {**model["image_encoder"], "attention": attention, "remat": "full"}}}
    save_weights(tmp_path / "tpu", params=whole.params, buffers=whole.buffers, config=config)
    here = Engine.from_checkpoint(str(checkpoint)).config
    assert Engine.from_checkpoint(str(tmp_path / "tpu")).config == here
    assert here.image_encoder.attention is AttentionKernel.AUTO


def test_a_model_of_another_family_is_named(checkpoint, photo, tmp_path, capsys):
    whole = load_weights(checkpoint)
    other = {"model": {"bends": 1}, "model_class": "CurveConfig", "model_words": "a curve"}
    save_weights(tmp_path / "curve", params=whole.params, buffers={}, config=other)
    assert run(tmp_path / "curve", photo, tmp_path / "out", "--point", "7,8") == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'curve'} holds a curve (CurveConfig); prediction needs a Segment Anything model" in said


def test_a_backbone_alone_predicts_nothing(checkpoint, photo, tmp_path, capsys):
    whole = load_weights(checkpoint)
    backbone = {"image_encoder": whole.params["image_encoder"]}
    save_weights(tmp_path / "backbone", params=backbone, buffers={}, config=whole.config)
    assert run(tmp_path / "backbone", photo, tmp_path / "out", "--point", "7,8") == 2
    assert "are not of the model that their config describes" in capsys.readouterr().err
