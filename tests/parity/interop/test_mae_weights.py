"""Masked autoencoders in and out: the release's files and transformers' folders, every bit, and the same numbers."""

import dataclasses
import json
import math
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers
from helpers.foreign import assert_same

from samjax.checkpoint.load import load_model, load_weights_and_config
from samjax.checkpoint.weights import load_weights
from samjax.cli.main import main
from samjax.core.tree import named_leaves
from samjax.interop.formats.vit_mae import file_name, model_config
from samjax.interop.tables.mae import MAE
from samjax.models.mae import MaeConfig, MaeDecoderConfig
from samjax.models.mae_sizes import size_name
from samjax.models.sam.from_vit import encoder_from_vit, vit_arrays
from samjax.models.sam.sam import SamConfig
from samjax.nn.resize import resize_kernel, resize_positions
from samjax.nn.sin_cos import sin_cos_table

WIDTH, DEPTH, SIDE, PATCH = 64, 3, 4, 8
DECODER = {"width": 32, "depth": 2, "heads": 2}
HEADS = ("--decoder-heads", "2")
BLOCK = {
    "norm1.weight": "n",
    "norm1.bias": "n",
    "attn.qkv.weight": "3n n",
    "attn.qkv.bias": "3n",
    "attn.proj.weight": "n n",
    "attn.proj.bias": "n",
    "norm2.weight": "n",
    "norm2.bias": "n",
    "mlp.fc1.weight": "4n n",
    "mlp.fc1.bias": "4n",
    "mlp.fc2.weight": "n 4n",
    "mlp.fc2.bias": "n",
}


def positions(width: int, side: int = SIDE) -> np.ndarray:
    """Return MAE's table, the class token's row of zeros first."""
    table = np.asarray(sin_cos_table((side, side), width)).reshape(-1, width)
    return np.concatenate([np.zeros((1, width), np.float32), table])[None]


def release(*, decoder: bool = True, side: int = SIDE, patch: int = PATCH) -> dict[str, np.ndarray]:
    """Return a state dict with the released keys, written here by the published list and not by the table."""
    draw = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return draw.normal(scale=0.1, size=shape).astype(np.float32)

    def blocks(name: str, width: int, depth: int) -> dict[str, np.ndarray]:
        def size(factor: str) -> int:
            return width * int(factor.removesuffix("n") or 1)

        return {
            f"{name}.{number}.{key}": array(*map(size, shape.split()))
            for number in range(depth)
            for key, shape in BLOCK.items()
        }

    state = {
        "cls_token": array(1, 1, WIDTH),
        "pos_embed": positions(WIDTH, side),
        "patch_embed.proj.weight": array(WIDTH, 3, patch, patch),
        "patch_embed.proj.bias": array(WIDTH),
        **blocks("blocks", WIDTH, DEPTH),
        "norm.weight": array(WIDTH),
        "norm.bias": array(WIDTH),
    }
    if decoder:
        width = DECODER["width"]
        state |= {
            "mask_token": array(1, 1, width),
            "decoder_pos_embed": positions(width, side),
            "decoder_embed.weight": array(width, WIDTH),
            "decoder_embed.bias": array(width),
            **blocks("decoder_blocks", width, DECODER["depth"]),
            "decoder_norm.weight": array(width),
            "decoder_norm.bias": array(width),
            "decoder_pred.weight": array(3 * patch**2, width),
            "decoder_pred.bias": array(3 * patch**2),
        }
    return state


def saved(path, state):
    torch.save({"model": {key: torch.tensor(array) for key, array in state.items()}}, path)
    return path


def imported(source, out, *options):
    assert main(["import", str(source), "--out", str(out), *options]) == 0
    return out


def exported(checkpoint, out, format):
    assert main(["export", "--checkpoint", str(checkpoint), "--format", format, "--out", str(out)]) == 0
    return out


def refused(capsys, *arguments) -> str:
    assert main([*map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def same_weights(ours, theirs) -> None:
    ours, theirs = load_weights(ours), load_weights(theirs)
    assert ours.config["model"] == theirs.config["model"]
    for part in ("params", "buffers"):
        assert_same(named_leaves(getattr(ours, part)), named_leaves(getattr(theirs, part)))


@pytest.mark.parametrize("decoder", [True, False], ids=["whole", "encoder"])
def test_the_releases_file_comes_back_bit_for_bit(tmp_path, capsys, decoder):
    state = release(decoder=decoder)
    out = imported(saved(tmp_path / "x.pth", state), tmp_path / "m", *(HEADS if decoder else ()))
    said = capsys.readouterr().out
    part = "" if decoder else "the encoder of "
    assert (
        f"x.pth: {part}a masked autoencoder ViT of 3 blocks, width 64, 1 heads for 32 x 32 pixels, key layout" in said
    )
    config = load_weights_and_config(out, MaeConfig).config
    assert (config.encoder.width, config.encoder.depth, config.encoder.patch) == (WIDTH, DEPTH, PATCH)
    assert config.decoder == (MaeDecoderConfig(**DECODER) if decoder else MaeDecoderConfig())
    assert config.visible == SIDE**2 // 4
    back = torch.load(exported(out, tmp_path / "e", "mae") / "mae.pth", weights_only=True)["model"]
    assert_same({key: array.numpy() for key, array in back.items()}, state)


@pytest.mark.parametrize("decoder", [True, False], ids=["whole", "encoder"])
def test_a_folder_of_transformers_comes_back_bit_for_bit(tmp_path, decoder):
    """Out of one layout of keys, into the other and back: import(export(x)) == x, the config too."""
    options = HEADS if decoder else ()
    first = imported(saved(tmp_path / "x.pth", release(decoder=decoder)), tmp_path / "m", *options)
    folder = exported(first, tmp_path / "hf", "huggingface")
    second = imported(folder, tmp_path / "n")
    if decoder:
        same_weights(first, second)
    again = exported(second, tmp_path / "hf2", "huggingface")
    assert_same(*(safetensors.numpy.load_file(one / "model.safetensors") for one in (again, folder)))


def reference(folder, **changes):
    """Save transformers' model as it saves it, every array drawn but the tables; return it."""
    config = transformers.ViTMAEConfig(
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        image_size=SIDE * PATCH,
        patch_size=PATCH,
        decoder_hidden_size=DECODER["width"],
        decoder_num_hidden_layers=DECODER["depth"],
        decoder_num_attention_heads=DECODER["heads"],
        decoder_intermediate_size=4 * DECODER["width"],
        **{"layer_norm_eps": 1e-6, "norm_pix_loss": True, **changes},
    )
    model = transformers.ViTMAEForPreTraining(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "pos" in name:
                weight.copy_(torch.tensor(positions(weight.shape[-1])))
            else:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator) + name.endswith("norm.weight"))
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs") / "vit-mae"
    return reference(folder), folder


@pytest.mark.parametrize("layout", ["saved", "hub", "live"])
def test_every_layout_of_transformers_is_the_same_model(theirs, tmp_path, layout):
    model, folder = theirs
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    if layout == "hub":
        arrays = {key.replace("decoder_encoder.layer", "decoder_layers"): array for key, array in arrays.items()}
    elif layout == "live":
        arrays = {key: array.numpy() for key, array in model.state_dict().items()}
    safetensors.numpy.save_file(arrays, copy / "model.safetensors")
    same_weights(imported(copy, tmp_path / "a"), imported(folder, tmp_path / "b"))


def test_transformers_loads_what_is_exported(theirs, tmp_path):
    model, folder = theirs
    out = exported(imported(folder, tmp_path / "m"), tmp_path / "hf", "huggingface")
    loaded, said = transformers.ViTMAEForPreTraining.from_pretrained(out, output_loading_info=True)
    assert not any(said.values()), said
    assert_same(*({key: array.numpy() for key, array in one.state_dict().items()} for one in (loaded, model)))
    fields = json.loads((out / "config.json").read_text())
    assert {key: getattr(model.config, key) for key in fields if key not in ("architectures", "dtype")} == {
        key: value for key, value in fields.items() if key not in ("architectures", "dtype")
    }


def test_an_imported_model_reconstructs_as_the_original(theirs, tmp_path, agrees):
    model, folder = theirs
    ours = load_model(imported(folder, tmp_path / "m"), MaeConfig)
    draw = np.random.default_rng(0)
    image = draw.normal(size=(2, SIDE * PATCH, SIDE * PATCH, 3)).astype(np.float32)
    noise = draw.uniform(size=(2, SIDE**2)).astype(np.float32)
    with torch.no_grad():
        output = model(pixel_values=torch.tensor(np.moveaxis(image, -1, 1).copy()), noise=torch.tensor(noise))
    found = ours.model(jnp.asarray(image), jnp.asarray(noise))
    agrees("imported ViTMAE, pixels", found.predictions, output.logits.numpy())
    np.testing.assert_array_equal(found.hidden, output.mask.numpy().astype(bool))


def test_epsilon_and_targets_are_config_jsons(tmp_path):
    reference(tmp_path / "hf", layer_norm_eps=1e-12, norm_pix_loss=False)
    config = load_weights_and_config(imported(tmp_path / "hf", tmp_path / "m"), MaeConfig).config
    assert config.encoder.epsilon == 1e-12
    assert not config.normalise_targets


@pytest.mark.parametrize("config", [MaeConfig.vit_b(), MaeConfig.vit_l(), MaeConfig.vit_h()], ids=["b", "l", "h"])
def test_the_table_covers_the_papers_sizes(config):
    """Every element of every parameter and buffer has one row, in every whole naming."""
    shapes = MAE.shapes(config)
    for naming in MAE.namings:
        entries = MAE.entries(config, naming)
        keys = [key for entry in entries for key in entry.keys]
        assert len(keys) == len(set(keys))
        covered = dict.fromkeys(shapes, 0)
        for entry in entries:
            covered[entry.path] += math.prod(entry.shape_in(shapes[entry.path]))
        missing = {path for path, count in covered.items() if count != math.prod(shapes[path])}
        assert all(path.startswith("decoder/") for path in missing) == bool(naming.part) or not missing
        assert bool(missing) == bool(naming.part)
    assert size_name(config) in ("ViT-B", "ViT-L", "ViT-H")


def test_published_models_have_published_names():
    assert file_name(MaeConfig.vit_b(), is_whole=False) == "mae_pretrain_vit_base.pth"
    assert file_name(MaeConfig.vit_h(dtype="float32"), is_whole=True) == "mae_pretrain_vit_huge_full.pth"
    assert file_name(MaeConfig.tiny(), is_whole=True) == "mae.pth"


@pytest.mark.parametrize("visible", range(1, 49))
def test_transformers_shows_as_many_patches(visible):
    """It has their share of all as a float, and cuts the count off."""
    config = MaeConfig.tiny(image_size=(56, 56), visible=visible)
    assert int(config.tokens * (1 - model_config(config, is_whole=True)["mask_ratio"])) == visible


def test_a_sam_encoder_starts_from_a_mae(tmp_path):
    """As a run's start takes it: blocks as they are, patches and positions resized, no relative positions yet."""
    state = release(decoder=False)
    weights = load_weights(imported(saved(tmp_path / "x.pth", state), tmp_path / "m"))
    base = SamConfig.tiny()
    encoder = dataclasses.replace(base.image_encoder, width=WIDTH, depth=DEPTH, heads=1, global_every=3)
    config = dataclasses.replace(base, image_encoder=encoder)
    arrays = vit_arrays(weights.params["encoder"], position=weights.buffers["encoder"]["position"])
    found = encoder_from_vit(arrays, config).params["image_encoder"]
    np.testing.assert_array_equal(
        found["position"], resize_positions(state["pos_embed"][0, 1:].reshape(SIDE, SIDE, WIDTH), config.grid)
    )
    kernel = resize_kernel(state["patch_embed.proj.weight"], 16)
    np.testing.assert_array_equal(found["patch_embed"]["kernel"], kernel.transpose(2, 3, 1, 0))
    for block, place in enumerate([("windowed", (0, 0)), ("windowed", (0, 1)), ("full", (0,))]):
        up = found["groups"][place[0]]["mlp"]["up"]["kernel"][place[1]]
        np.testing.assert_array_equal(up, state[f"blocks.{block}.mlp.fc1.weight"].T)


def test_a_mae_is_no_segment_anything(tmp_path, capsys):
    out = imported(saved(tmp_path / "x.pth", release()), tmp_path / "m", *HEADS)
    said = refused(capsys, "export", "--checkpoint", out, "--format", "onnx", "--out", tmp_path / "e")
    assert "holds a masked autoencoder (MaeConfig); --format onnx needs a Segment Anything model (SamConfig)" in said
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"pos_embed": positions(WIDTH) + 1}, HEADS, "gives the class token a position"),
        ({"decoder_norm.bias": np.zeros(3, np.float32)}, HEADS, "decoder_norm.bias has shape (3,), expected (32,)"),
        ({"blocks.1.ls1.gamma": np.zeros(WIDTH, np.float32)}, HEADS, "blocks.1.ls1.gamma is unexpected"),
        ({}, (), "give --decoder-heads"),
        ({}, (*HEADS, "--image-size", "64", "64"), "MAE keeps its own frame"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, capsys, change, options, said):
    path = saved(tmp_path / "x.pth", release() | change)
    assert said in refused(capsys, "import", path, "--out", tmp_path / "m", *options)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "vit"}, "a model of type 'vit', expected 'vit_mae'"),
        ({"hidden_act": "relu", "qkv_bias": False}, "hidden_act is 'relu', expected 'gelu'; qkv_bias is False"),
    ],
)
def test_a_config_that_no_model_here_has_is_refused(theirs, tmp_path, capsys, change, said):
    folder = tmp_path / "hf"
    shutil.copytree(theirs[1], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    assert said in refused(capsys, "import", folder, "--out", tmp_path / "m")


def test_trained_positions_are_no_maes(tmp_path, capsys):
    """A plain ViT has the same keys: it is a backbone, with which SAM and dense models start."""
    state = release(decoder=False)
    state["pos_embed"] = np.random.default_rng(1).normal(size=state["pos_embed"].shape).astype(np.float32)
    state = {key.replace("blocks.2.", "blocks.3."): array for key, array in state.items()} | {
        key.replace("blocks.0.", "blocks.2."): array for key, array in state.items() if key.startswith("blocks.0.")
    }
    imported(saved(tmp_path / "x.pth", state), tmp_path / "m")
    assert "the backbone of a Segmenter ViT of 4 blocks" in capsys.readouterr().out
