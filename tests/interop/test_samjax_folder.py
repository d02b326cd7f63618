"""`samjax export --format samjax`: the model of a run for samjax itself, and weights that are known by a name."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.micro import drawn_micro, micro_model

from samjax.checkpoint import pretrained
from samjax.checkpoint.load import load_model, load_weights_and_config
from samjax.checkpoint.weights import find_checkpoint, load_weights, save_weights
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.core.json_config import to_json
from samjax.core.tree import named_leaves
from samjax.models.sam.sam import SamConfig
from samjax.predict.automatic.generator_config import GeneratorConfig

SETTINGS = GeneratorConfig(points_per_side=5, pred_iou_threshold=0.125)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "micro"
    _, params, buffers = nnx.split(drawn_micro(), nnx.Param, ...)
    params, buffers = jax.device_get((nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)))
    save_weights(path, params=params, buffers=buffers, config={"model": json.loads(to_json(micro_model()))})
    return path


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("tuned") / "generator.json"
    tuned = {
        "checkpoint": "/home/ann/runs/cells",
        "settings": json.loads(to_json(SETTINGS)),
        "data": {"images": ["/home"]},
    }
    path.write_text(json.dumps(tuned))
    return path


def export(source, out, *options) -> int:
    return main(["export", "--checkpoint", str(source), "--format", "samjax", "--out", str(out), *map(str, options)])


def arrays(path):
    weights = load_weights(path)
    return named_leaves({"params": weights.params, "buffers": weights.buffers})


def test_it_is_the_same_model_bit_for_bit(source, tmp_path):
    assert export(source, tmp_path / "out") == 0
    before, after = arrays(source), arrays(tmp_path / "out")
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    configs = [load_weights_and_config(path, SamConfig).config for path in (source, tmp_path / "out")]
    assert configs[0] == configs[1]


def test_bfloat16_halves_the_parameters_and_is_read_as_float32(source, tmp_path):
    assert export(source, tmp_path / "whole") == export(source, tmp_path / "half", "--bfloat16") == 0
    before, after = arrays(source), arrays(tmp_path / "half")
    for name, array in before.items():
        rounded = array.astype(jnp.bfloat16).astype(np.float32) if name.startswith("params/") else array
        assert after[name].dtype == array.dtype
        np.testing.assert_array_equal(after[name], rounded, err_msg=name)
    whole, half = (sum(file.stat().st_size for file in (tmp_path / k).rglob("*")) for k in ("whole", "half"))
    assert half < 0.7 * whole
    assert "bfloat16" in (tmp_path / "half" / "README.md").read_text()


def test_nothing_of_a_published_folder_says_where_it_was_made(source, tmp_path):
    assert export(source, tmp_path / "out") == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path.name for path in files if bytes(tmp_path) in path.read_bytes()] == []
    marks = pretrained.folder("nuclei").rglob("commit_success.txt")
    assert {path.read_text() for path in marks} == {"Checkpoint commit was successful"}


def test_settings_go_with_the_weights_and_are_generates_own(source, settings, tmp_path, capsys, monkeypatch):
    from samjax.predict.automatic import mask_folder

    class UsedError(Exception):
        pass

    def opened(*_, config, **__):
        raise UsedError(config)

    monkeypatch.setattr(mask_folder, "open_folder", opened)
    assert export(source, tmp_path / "out", "--settings", settings) == 0
    assert "home" not in (tmp_path / "out" / "generator.json").read_text()
    (tmp_path / "a.png").write_bytes(b"")

    def used(*options) -> GeneratorConfig:
        images, out = str(tmp_path / "a.png"), str(tmp_path / "masks")
        with pytest.raises(UsedError) as raised:
            main(["generate", "--checkpoint", str(tmp_path / "out"), "--images", images, "--out", out, *options])
        return raised.value.args[0]

    assert used() == SETTINGS
    assert f"settings tuned for these weights: {tmp_path / 'out' / 'generator.json'}" in capsys.readouterr().out
    assert used("--points-per-side", "7").points_per_side == 7
    assert used("--preset", "default") == GeneratorConfig()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--photo-masks",), "--single-file and --photo-masks are for --format onnx, not samjax"),
        (("--photo-masks", "--bfloat16"), "remove those of one"),
        (("--settings", "nowhere.json"), "--settings nowhere.json: no such file"),
    ],
)
def test_options_of_another_format_are_refused(source, tmp_path, capsys, options, sentence):
    assert export(source, tmp_path / "out", *options) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_options_of_ours_are_refused_elsewhere(source, tmp_path, capsys):
    words = ["export", "--checkpoint", str(source), "--format", "stablehlo", "--out", str(tmp_path / "out")]
    assert main([*words, "--bfloat16"]) == 2
    assert "--bfloat16 and --settings are for --format samjax, not stablehlo" in capsys.readouterr().err


def test_a_name_stands_for_weights_that_come_with_samjax(source, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_HERE", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    assert export(source, tmp_path / "shipped" / "cells", "--bfloat16") == 0
    assert pretrained.names() == ["cells"]
    assert load_model("cells", SamConfig).path == find_checkpoint("cells") == tmp_path / "shipped" / "cells"
    with pytest.raises(UserError, match=r"cell: no such folder; .* name of weights that come with samjax: cells"):
        find_checkpoint("cell")
    assert export("cells", tmp_path / "cells") == 0
    assert find_checkpoint("cells") == tmp_path / "cells"  # one's own folder comes first
