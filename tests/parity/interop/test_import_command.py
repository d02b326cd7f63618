"""`samjax import` on the command line: what comes out is what went in, and bad input writes nothing."""

import dataclasses
import json
import re

import numpy as np
import pytest
import safetensors.numpy
import torch
from helpers.foreign import HEADS, MICRO, Malicious, assert_same, count, state_dict, vit

from samjax.checkpoint.weights import Weights, load_weights
from samjax.cli.main import main
from samjax.core.json_config import from_json
from samjax.core.tree import named_leaves
from samjax.interop.tables.sam import SAM
from samjax.interop.tables.sam_rows import RELEASE, TRANSFORMERS
from samjax.models.sam.sam import SamConfig
from samjax.nn.pixels import PIXEL_MEAN, PIXEL_STD
from samjax.nn.resize import resize_kernel, resize_positions
from samjax.nn.structure import array_shapes

DECODER = ("--decoder-heads", str(HEADS))
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 375042383\n"


def saved(path, arrays, **beside):
    """Write a .pth, of MAE's form where something lies beside the model."""
    tensors = {key: torch.tensor(array) for key, array in arrays.items()}
    torch.save({"model": tensors, **beside} if beside else tensors, path)
    return path


def imported(weights, out, *options: str) -> Weights:
    assert main(["import", str(weights), "--out", str(out), *options]) == 0
    return load_weights(out)


def model_of(weights: Weights) -> SamConfig:
    return from_json(SamConfig, weights.config["model"], name="model")


def refused(capsys, weights, out, *options: str) -> str:
    """Return the sentence; nothing was written."""
    before = sorted(path for path in out.parent.rglob("*"))
    assert main(["import", str(weights), "--out", str(out), *options]) == 2
    assert sorted(path for path in out.parent.rglob("*")) == before
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("samjax: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_release_comes_back_bit_for_bit(tmp_path, capsys, prefix):
    arrays = state_dict(RELEASE)
    weights = saved(tmp_path / "x.pth", {prefix + key: array for key, array in arrays.items()})
    read = imported(weights, tmp_path / "out", *DECODER)
    config = model_of(read)
    assert (config.image_size, config.image_encoder) == (MICRO.image_size, MICRO.image_encoder)
    assert_same(SAM.to_torch(read.params, read.buffers, config, RELEASE), arrays)
    said = capsys.readouterr().out
    assert (
        "x.pth: a Segment Anything ViT of 2 blocks, width 32, 2 heads for 64 x 64 pixels, key layout of the release\n"
        in said
    )
    assert f"{count(read.params):,} parameters" in said
    assert "resized" not in said
    assert "not used" not in said
    note = read.config["imported"]
    assert (note["from"], note["format"]) == ("x.pth", "segment-anything")
    assert read.config["model_class"] == "SamConfig"
    assert note["sha256"]["x.pth"] in said


def test_another_frame_resizes_tables_and_nothing_else(tmp_path, capsys):
    arrays = state_dict(RELEASE)
    read = imported(saved(tmp_path / "x.pth", arrays), tmp_path / "out", *DECODER, "--image-size", "96", "128")
    config = model_of(read)
    assert config.image_size == (96, 128)
    back = SAM.to_torch(read.params, read.buffers, config, RELEASE)
    assert back["image_encoder.pos_embed"].shape == (1, 6, 8, 32)
    tables = {
        "image_encoder.pos_embed",
        "image_encoder.blocks.1.attn.rel_pos_h",
        "image_encoder.blocks.1.attn.rel_pos_w",
    }
    assert_same(*({key: of[key] for key in arrays if key not in tables} for of in (back, arrays)))
    said = capsys.readouterr().out
    assert "resized  position table: 4 x 4 to 6 x 8 tokens, bicubically" in said
    assert "resized  2 relative position tables" in said


def test_a_frame_as_small_as_a_window_is_taken_and_noted(tmp_path, capsys):
    encoder = dataclasses.replace(MICRO.image_encoder, window=4)
    small = dataclasses.replace(MICRO, image_encoder=encoder)
    arrays = state_dict(RELEASE, small)
    read = imported(saved(tmp_path / "x.pth", arrays), tmp_path / "out", *DECODER)
    assert model_of(read) == small
    assert_same(SAM.to_torch(read.params, read.buffers, small, RELEASE), arrays)
    assert "note     the map is as large as a window, so no array says which blocks attend globally: 1 are taken" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("key", ["model_state_dict", "model_state", "state_dict", "net"])
def test_the_key_that_a_state_dict_is_under_is_said(tmp_path, capsys, key):
    """Beside what PyTorch's tutorial and micro-sam save with it."""
    tensors = {name: torch.tensor(array) for name, array in state_dict(RELEASE).items()}
    optimizer = {"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": [{"lr": 1.0, "params": [0]}]}
    torch.save(
        {"epoch": 3, "loss": torch.tensor(0.5), "rng": torch.ones(9, dtype=torch.uint8), key: tensors}
        | {"optimizer_state_dict": optimizer, "scaler": {"scale": 2.0}},
        tmp_path / "x.pth",
    )
    read = imported(tmp_path / "x.pth", tmp_path / "out", *DECODER)
    assert_same(SAM.to_torch(read.params, read.buffers, model_of(read), RELEASE), state_dict(RELEASE))
    assert f"note     the state dict under {key} in the file is taken" in capsys.readouterr().out


def test_one_of_several_state_dicts_is_chosen_by_its_key(tmp_path, capsys):
    both = {"model": state_dict(RELEASE), "ema": {"average": state_dict(RELEASE, seed=1)}}
    path = tmp_path / "x.pth"
    tensors = {key: torch.tensor(array) for key, array in both["ema"]["average"].items()}
    saved(path, both["model"], ema={"average": tensors}, epoch=3)
    said = refused(capsys, path, tmp_path / "out", *DECODER)
    assert re.search(
        r"holds several state dicts, model \(\d+ entries\), ema.average \(\d+ entries\): give --under", said
    )
    assert "no state dict under averages, but model" in refused(
        capsys, path, tmp_path / "out", *DECODER, "--under", "averages"
    )
    read = imported(path, tmp_path / "out", *DECODER, "--under", "ema.average")
    assert_same(SAM.to_torch(read.params, read.buffers, model_of(read), RELEASE), both["ema"]["average"])


def test_ignored_keys_are_left_out_and_told(tmp_path, capsys):
    further = {
        "image_encoder.adapters.0.weight": np.zeros((2, 2), np.float32),
        "image_encoder.adapters.1.deep.bias": np.zeros(2, np.float32),
        "mask_decoder.hf_token.weight": np.zeros((1, 2), np.float32),
    }
    path = saved(tmp_path / "x.pth", state_dict(RELEASE) | further)
    said = refused(capsys, path, tmp_path / "out", *DECODER, "--ignore", "image_encoder.adapters/**")
    assert "(1 faults): mask_decoder.hf_token.weight is unexpected" in said
    assert "--ignore *.adaptors.* matches no key; there are image_encoder.adapters.0.weight" in refused(
        capsys, path, tmp_path / "out", *DECODER, "--ignore", "*.adaptors.*"
    )
    patterns = ("--ignore", "image_encoder.adapters/**", "--ignore", "mask_decoder.hf_*")
    read = imported(path, tmp_path / "out", *DECODER, *patterns)
    assert_same(SAM.to_torch(read.params, read.buffers, model_of(read), RELEASE), state_dict(RELEASE))
    assert f"ignored  {', '.join(further)}\n" in capsys.readouterr().out
    assert read.config["imported"]["ignored"] == list(further)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "sam/model.safetensors", "sam/config.json"])
def test_a_pointer_of_git_lfs_is_named_as_such(tmp_path, capsys, name):
    transformers_folder(tmp_path / "sam")
    path = tmp_path / name
    path.write_text(POINTER)
    weights = path if path.parent == tmp_path else path.parent
    assert f"{path} is a Git LFS pointer, not the file itself: get it with `git lfs pull`" in (
        refused(capsys, weights, tmp_path / "out")
    )


def test_pixels_are_normalised_alike_or_not_imported(tmp_path, capsys):
    pixels = {
        "pixel_mean": np.reshape(np.float32(PIXEL_MEAN), (3, 1, 1)),
        "pixel_std": np.reshape(np.float32(PIXEL_STD), (3, 1, 1)),
    }
    arrays = state_dict(RELEASE)
    imported(saved(tmp_path / "x.pth", arrays | pixels), tmp_path / "out", *DECODER)
    assert "not used pixel_mean, pixel_std" in capsys.readouterr().out
    pixels["pixel_mean"] = np.float32([0.5, 0.5, 0.5])
    said = refused(capsys, saved(tmp_path / "y.pth", arrays | pixels), tmp_path / "other", *DECODER)
    assert "pixel_mean is [0.5, 0.5, 0.5], but photos are normalised by [123.675" in said


def transformers_folder(folder, **changes):
    """Write a SamModel's folder; `changes` replace fields of parts of its config."""
    folder.mkdir()
    safetensors.numpy.save_file(state_dict(TRANSFORMERS), folder / "model.safetensors")
    config = {
        "model_type": "sam",
        "vision_config": {"num_attention_heads": 2, "window_size": 3, "global_attn_indexes": [1]},
        "mask_decoder_config": {"num_attention_heads": HEADS, "layer_norm_eps": 1e-5},
    }
    for part, fields in changes.items():
        config[part] = {**config.get(part, {}), **fields} if isinstance(fields, dict) else fields
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_folder_of_transformers_needs_no_options(tmp_path, capsys):
    read = imported(transformers_folder(tmp_path / "sam"), tmp_path / "out")
    assert model_of(read).mask_decoder.heads == HEADS
    back = SAM.to_torch(read.params, read.buffers, model_of(read), TRANSFORMERS)
    assert_same(back, state_dict(TRANSFORMERS))
    assert "note" not in capsys.readouterr().out
    assert read.config["imported"]["from"] == "sam"


def test_the_default_epsilon_of_transformers_is_taken_and_noted(tmp_path, capsys):
    imported(transformers_folder(tmp_path / "sam", mask_decoder_config={"layer_norm_eps": 1e-6}), tmp_path / "out")
    assert "note     config.json gives the mask decoder's norms an epsilon of 1e-6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "sam2"}, "a model of type 'sam2', expected 'sam'"),
        ({"vision_config": {"hidden_act": "quick_gelu"}}, "vision_config.hidden_act is 'quick_gelu', expected 'gelu'"),
        ({"vision_config": {"qkv_bias": False}}, "vision_config.qkv_bias is False, expected True"),
        ({"vision_config": {"num_attention_heads": 4}}, "num_attention_heads is 4, but the arrays beside it are of 2"),
        ({"vision_config": {"window_size": 14}}, "window_size is 14, but the arrays beside it are of 3"),
        ({"vision_config": {"global_attn_indexes": [0]}}, "blocks 0 of 2 attend globally"),
        ({"vision_config": {"global_attn_indexes": "all"}}, "global_attn_indexes is 'all', expected a list"),
        ({"mask_decoder_config": {"layer_norm_eps": 1e-3}}, "layer_norm_eps is 0.001, expected 1e-05 or 1e-06"),
        ({"mask_decoder_config": {"num_attention_heads": "8"}}, "num_attention_heads is '8', expected a number"),
        ({"mask_decoder_config": {"num_attention_heads": 3}}, "model.embedding is 32; it must be a positive multiple"),
        ({"prompt_encoder_config": {"layer_norm_eps": 1e-5}}, "prompt_encoder_config.layer_norm_eps is 1e-05"),
    ],
)
def test_a_config_that_no_model_here_has_is_refused(tmp_path, capsys, changes, said):
    assert said in refused(capsys, transformers_folder(tmp_path / "sam", **changes), tmp_path / "out")


def test_every_field_of_a_config_that_is_wrong_is_named_at_once(tmp_path, capsys):
    folder = transformers_folder(
        tmp_path / "sam",
        vision_config={"qkv_bias": False, "use_rel_pos": False},
        prompt_encoder_config={"hidden_act": "x"},
    )
    said = refused(capsys, folder, tmp_path / "out")
    assert all(field in said for field in ("qkv_bias", "use_rel_pos", "prompt_encoder_config.hidden_act"))


@pytest.mark.parametrize(("patch", "prefix"), [(16, ""), (14, ""), (14, "backbone.net.")])
def test_an_mae_backbone(tmp_path, capsys, patch, prefix):
    """Positions on the new grid without the class token's, kernel for 16 pixels, zero relative tables, no neck."""
    arrays = vit(patch=patch)
    weights = saved(tmp_path / "mae.pth", {prefix + key: array for key, array in arrays.items()}, epoch=800)
    read = imported(weights, tmp_path / "out", "--image-size", "96", "128")
    config = model_of(read)
    encoder = config.image_encoder
    assert (encoder.width, encoder.depth, encoder.heads, encoder.global_every, encoder.window) == (64, 8, 1, 2, 14)
    shapes = {path: leaf.shape for path, leaf in named_leaves(read.params).items()}
    assert shapes == {
        path: shape
        for path, shape in array_shapes(config.make).items()
        if path.startswith("image_encoder/") and "/neck/" not in path
    }
    assert named_leaves(read.buffers) == {}
    ours = read.params["image_encoder"]
    table = arrays["pos_embed"][0, 1:].reshape(4, 4, 64)
    np.testing.assert_array_equal(ours["position"], resize_positions(table, (6, 8)))
    kernel = arrays["patch_embed.proj.weight"]
    kernel = kernel if patch == 16 else resize_kernel(kernel, 16)
    np.testing.assert_array_equal(ours["patch_embed"]["kernel"], kernel.transpose(2, 3, 1, 0))
    for block in range(8):
        stack = ours["groups"]["full" if block % 2 else "windowed"]
        index = (block // 2,) if block % 2 else (block // 2, 0)
        np.testing.assert_array_equal(stack["mlp"]["up"]["kernel"][index], arrays[f"blocks.{block}.mlp.fc1.weight"].T)
        assert not stack["attention"]["row_positions"][index].any()
    said = capsys.readouterr().out
    assert ("14 x 14 to 16 x 16 pixels, by pseudoinverse" in said) == (patch == 14)
    assert "16 relative position tables: there are none, they start at zero" in said
    assert "image encoder alone, without its neck" in said
    for key in ("cls_token", "mask_token", "decoder_blocks.0.attn.qkv.weight", "norm.weight"):
        assert prefix + key in said


def test_a_vitdet_backbone_keeps_its_tables(tmp_path, capsys):
    """Its window and heads are read from them; the row of a class token that it lacks goes."""
    arrays = {key: array for key, array in vit(side=6).items() if key != "cls_token"}
    draw = np.random.default_rng(1)
    for block in range(8):
        side = 6 if block % 4 == 3 else 3
        for axis in "hw":
            arrays[f"blocks.{block}.attn.rel_pos_{axis}"] = draw.normal(size=(2 * side - 1, 16)).astype(np.float32)
    arrays["roi_heads.fc.weight"] = np.zeros((2, 2), np.float32)
    foreign = {key if key.startswith("roi") else f"backbone.net.{key}": array for key, array in arrays.items()}
    read = imported(saved(tmp_path / "x.pth", foreign), tmp_path / "out", "--image-size", "96", "96")
    encoder = model_of(read).image_encoder
    assert (encoder.heads, encoder.window, encoder.global_every) == (4, 3, 4)
    stacks = read.params["image_encoder"]["groups"]
    np.testing.assert_array_equal(stacks["full"]["attention"]["row_positions"][1], arrays["blocks.7.attn.rel_pos_h"])
    np.testing.assert_array_equal(
        stacks["windowed"]["attention"]["column_positions"][0, 1], arrays["blocks.1.attn.rel_pos_w"]
    )
    np.testing.assert_array_equal(
        read.params["image_encoder"]["position"], arrays["pos_embed"][0, 1:].reshape(6, 6, 64)
    )
    said = capsys.readouterr().out
    assert "resized" not in said
    assert "roi_heads.fc.weight" in said


@pytest.mark.parametrize("class_rows", ["cls", "none", "not in the table"])
def test_class_tokens_of_timm(tmp_path, class_rows):
    arrays = vit(class_token=class_rows == "cls")
    if class_rows == "not in the table":
        arrays["cls_token"] = np.zeros((1, 1, 64), np.float32)
    read = imported(saved(tmp_path / "x.pth", arrays), tmp_path / "out", "--image-size", "96", "128")
    expected = resize_positions(arrays["pos_embed"][0, -16:].reshape(4, 4, 64), (6, 8))
    np.testing.assert_array_equal(read.params["image_encoder"]["position"], expected)


def test_every_array_that_does_not_fit_is_named_at_once(tmp_path, capsys):
    arrays = state_dict(RELEASE)
    missing, misshapen = "mask_decoder.iou_token.weight", "prompt_encoder.no_mask_embed.weight"
    del arrays[missing]
    arrays |= {misshapen: np.zeros((2, 32), np.float32), "mask_decoder.hf_token.weight": np.zeros(3, np.float32)}
    arrays["image_encoder.neck.1.bias"] = arrays["image_encoder.neck.1.bias"].astype(np.float64)
    said = refused(capsys, saved(tmp_path / "x.pth", arrays), tmp_path / "out", *DECODER)
    assert "(4 faults)" in said
    assert f"{missing} is missing" in said
    assert f"{misshapen} has shape (2, 32), expected (1, 32)" in said
    assert "mask_decoder.hf_token.weight is unexpected" in said
    assert "image_encoder.neck.1.bias is float64" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"blocks.3.ls1.gamma": np.zeros(64, np.float32)}, "blocks.3.ls1.gamma is unexpected"),
        ({"blocks.3.attn.q_norm.weight": np.zeros(64, np.float32)}, "blocks.3.attn.q_norm.weight is unexpected"),
        ({"blocks.3.mlp.fc2.bias": np.zeros(63, np.float32)}, "blocks.3.mlp.fc2.bias has shape (63,), expected (64,)"),
        ({"pos_embed": np.zeros((1, 19, 64), np.float32)}, "the position table has shape (19, 64), expected a square"),
        ({"patch_embed.proj.weight": np.zeros((64, 3, 32, 32), np.float32)}, "patches of 32 x 32 pixels"),
    ],
)
def test_vits_that_compute_otherwise_are_refused(tmp_path, capsys, change, said):
    assert said in refused(capsys, saved(tmp_path / "x.pth", vit() | change), tmp_path / "out")


def test_bad_files_are_a_sentence_and_exit_code_2(tmp_path, capsys):
    out, path = tmp_path / "out", tmp_path / "x.pth"
    torch.save({"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(3)}, path)
    assert "of another architecture: its keys, such as conv1.weight, fc.bias" in refused(capsys, path, out)
    saved(path, vit())
    path.write_bytes(path.read_bytes()[:-1000])
    assert "cut off" in refused(capsys, path, out)
    torch.save({"model": Malicious(tmp_path / "owned")}, path)
    assert "nothing of it is run" in refused(capsys, path, out)
    assert "no such file" in refused(capsys, tmp_path / "none.pth", out)
    saved(path, state_dict(RELEASE) | {"mask_decoder.iou_token.weight": np.full((1, 32), np.nan, np.float32)})
    assert "hold non-finite values and are not saved" in refused(capsys, path, out, *DECODER)


def test_bad_options_are_a_sentence_and_exit_code_2(tmp_path, capsys):
    path = saved(tmp_path / "x.pth", state_dict(RELEASE))
    assert "give --decoder-heads" in refused(capsys, path, tmp_path / "out")
    assert "--decoder-heads is 0" in refused(capsys, path, tmp_path / "out", "--decoder-heads", "0")
    assert "is not a multiple of the patch" in refused(
        capsys, path, tmp_path / "out", *DECODER, "--image-size", "60", "64"
    )
    assert "does not know --imagesize" in refused(capsys, path, tmp_path / "out", "--imagesize")


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    none = tmp_path / "none.pth"
    assert "file is a file, expected a folder" in refused(capsys, none, tmp_path / "file" / "below" / "out")
    assert main(["import", str(none), "--out", "/proc/1/out"]) == 2
    assert "/proc/1/out cannot be written" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, capsys, monkeypatch):
    """TensorStore's error is no OSError, and Orbax leaves a folder of its own."""

    def fill(self, folder, *_, **__):
        beside = folder.parent / f"{folder.name}.orbax-checkpoint-tmp"
        beside.mkdir()
        (beside / "state").write_text("half")
        raise ValueError("RESOURCE_EXHAUSTED: Failed to write 1 bytes to file 14: No space left on device")

    weights = saved(tmp_path / "x.pth", state_dict(RELEASE))
    monkeypatch.setattr("orbax.checkpoint.Checkpointer.save", fill)
    said = refused(capsys, weights, tmp_path / "new" / "out", *DECODER)
    assert "new/out cannot be written (No space left on device): free some room" in said


def test_what_is_there_stays_as_it_is(tmp_path, capsys):
    path, out = saved(tmp_path / "x.pth", state_dict(RELEASE)), tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert "exists already" in refused(capsys, path, out, *DECODER)
    assert (out / "mine.txt").read_text() == "mine"
    assert "exists already" in refused(capsys, tmp_path / "none.pth", out)  # before anything is read
    file = tmp_path / "file"
    file.write_text("mine")
    assert "exists already" in refused(capsys, path, file, *DECODER)
    assert file.read_text() == "mine"
