"""`samjax export`: every folder holds the checkpoint's weights bit for bit, and is whole or not there at all."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers
from drawn_weights import drawn
from PIL import Image

from samjax.checkpoint.weights import load_weights, save_weights
from samjax.cli.main import main
from samjax.core.json_config import from_json, to_json
from samjax.core.tree import named_leaves
from samjax.interop import write_weights as module
from samjax.interop.card import Use, card
from samjax.interop.formats.sam_writers import sam_about
from samjax.interop.formats.segment_anything import file_name
from samjax.interop.tables.sam import SAM
from samjax.interop.tables.sam_rows import RELEASE
from samjax.interop.write_weights import Format, export
from samjax.models.sam.sam import SamConfig
from samjax.nn.pixels import normalise
from samjax.predict.promptable.restore import axis_taps

_OTHERS = (Format.MAE, Format.AUTHORS)
"""Of masked autoencoders, and of dense prediction."""
FORMATS = [format.value for format in Format if format not in _OTHERS]


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """Folder of each format."""
    out = tmp_path_factory.mktemp("exported")
    for format in FORMATS:
        assert main(["export", "--checkpoint", str(run), "--format", format, "--out", str(out / format)]) == 0
    return out


def same(ours, theirs):
    """Assert that two trees of arrays are the same, bit for bit."""
    ours, theirs = named_leaves(ours), named_leaves(theirs)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert theirs[name].dtype == array.dtype
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)


def program(folder) -> str:
    """Return the Python on the card."""
    (found,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    return found


@pytest.mark.parametrize(
    ("format", "file", "options"),
    [("huggingface", "", ()), ("segment-anything", "sam.pth", ("--decoder-heads", "2"))],
)
def test_imported_again_it_is_the_same_model(exported, run, micro, tmp_path, format, file, options):
    """import(export(x)) == x: every bit, and the config but for what no weights depend on."""
    out = tmp_path / "back"
    assert main(["import", str(exported / format / file), "--out", str(out), *options]) == 0
    before, after = load_weights(run), load_weights(out)
    same((before.params, before.buffers), (after.params, after.buffers))
    model = from_json(SamConfig, after.config["model"], name="model")
    encoder, decoder = dataclasses.asdict(micro.image_encoder), dataclasses.asdict(micro.mask_decoder)
    assert dataclasses.asdict(model.image_encoder) == encoder
    assert dataclasses.asdict(model.mask_decoder) | {"dropout": 0.0} == decoder
    assert (model.image_size, model.embedding) == (micro.image_size, micro.embedding)


def test_huggingface_there_and_back(exported, micro, weights):
    state = safetensors.numpy.load_file(exported / "huggingface" / "model.safetensors")
    same(weights, SAM.from_torch(state, micro))


def test_segment_anything_there_and_back(exported, micro, weights):
    state = torch.load(exported / "segment-anything" / "sam.pth")
    same(weights, SAM.from_torch({key: array.numpy() for key, array in state.items()}, micro, RELEASE))


def test_stablehlo_has_the_weights_by_our_names(exported, weights):
    folder = exported / "stablehlo"
    halves = [safetensors.numpy.load_file(folder / f"{half}.safetensors") for half in ("encoder", "decoder")]
    same({name: leaf for tree in weights for name, leaf in named_leaves(tree).items()}, {**halves[0], **halves[1]})


def test_transformers_loads_it_all(exported, micro):
    """No key is missing or too many, and the config is the one that its own classes would write."""
    model, said = transformers.SamModel.from_pretrained(exported / "huggingface", output_loading_info=True)
    assert not any(said.values()), said
    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    written = json.loads((exported / "huggingface" / "config.json").read_text())
    loaded = model.config.to_dict()
    for part in parts:
        assert {name: loaded[part][name] for name in written[part]} == written[part]
    assert model.vision_encoder.pos_embed.shape == (1, *micro.grid, micro.image_encoder.width)


def test_its_processor_prepares_photos_as_we_do(exported, micro):
    """A photo of the frame's own size, and where a smaller one would lie in it."""
    processor = transformers.SamProcessor.from_pretrained(exported / "huggingface")
    pixels = np.random.default_rng(0).integers(0, 256, (*micro.image_size, 3), dtype=np.uint8)
    theirs = processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"]
    ours = normalise(jnp.asarray(pixels[None]), jnp.array([micro.image_size]))
    np.testing.assert_allclose(np.moveaxis(theirs, 1, -1), ours, atol=1e-5)
    wide = processor(Image.new("RGB", (200, 100)), segmentation_maps=Image.new("L", (200, 100)), return_tensors="np")
    np.testing.assert_array_equal(wide["reshaped_input_sizes"], [[32, 64]])
    assert wide["pixel_values"].shape == (1, 3, *micro.image_size)
    assert wide["labels"].shape[-2:] == micro.logits_size


@pytest.mark.parametrize("format", ["huggingface", "onnx"])
def test_the_program_on_the_card_runs(exported, format, monkeypatch, tmp_path):
    monkeypatch.chdir(exported / format)
    Image.new("RGB", (640, 900), (90, 120, 30)).save(tmp_path / "photo.jpg")
    text = program(exported / format).replace('"photo.jpg"', repr(str(tmp_path / "photo.jpg")))
    there = {}
    exec(text, there)
    if format == "onnx":
        assert there["logits"].shape == (1, 1, 4, 16, 16)
    else:
        assert there["masks"][0].shape == (1, 3, 900, 640)


def test_a_decoder_for_photos_in_single_files_runs_by_its_card(run, exported, monkeypatch, tmp_path, capsys):
    given = ["--checkpoint", str(run), "--out", str(tmp_path / "out"), "--single-file", "--photo-masks"]
    assert "are for --format onnx, not huggingface: remove them" in refused(capsys, *given, "--format", "huggingface")
    assert main(["export", *given, "--format", "onnx"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "encoder.onnx", "decoder.onnx"}
    assert "Weights are in the models' own files." in (tmp_path / "out" / "README.md").read_text()
    assert "keep them beside the models, by these names" in (exported / "onnx" / "README.md").read_text()
    found = {}
    for folder in (tmp_path / "out", exported / "onnx"):
        monkeypatch.chdir(folder)
        exec(program(folder), found)
    assert found["masks"].shape == (1, 1, 4, 900, 640)
    taps = [axis_taps(low=16, frame=64, fitted=64, photo=side).matrix(16) for side in (900, 640)]
    expected = np.einsum("...yx,yh,xw->...hw", found["logits"], *taps)
    assert np.abs(found["masks"] - expected).max() <= 1e-4 * np.abs(expected).max()


def test_stablehlo_runs_without_samjax(exported, weights, micro):
    """In a process that cannot import it, and to the same numbers."""
    folder = exported / "stablehlo"
    text = "import sys\nsys.modules['samjax'] = None\n" + program(folder) + "np.save(sys.argv[1], masks['logits'])"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    out = folder.parent / "logits.npy"
    subprocess.run([sys.executable, "-c", text, str(out)], cwd=folder, env=environment, check=True)
    there = {}
    exec(program(exported / "onnx").replace('f"{half}', f'f"{exported / "onnx"}/{{half}}'), there)
    expected = there["logits"]
    assert np.abs(np.load(out) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("format", FORMATS)
def test_files_are_for_whom_new_files_are(exported, format, tmp_path):
    (tmp_path / "new").touch()
    modes = {path.name: path.stat().st_mode for path in (exported / format).rglob("*") if path.is_file()}
    assert set(modes.values()) == {(tmp_path / "new").stat().st_mode}, modes


def test_a_card_says_what_a_run_began_with(run):
    """By its name, not by its path: licences of weights go on to those that were trained from them."""
    weights = load_weights(run)
    about = sam_about(from_json(SamConfig, weights.config["model"]))
    use = Use(library="jax", files="", python="")
    assert "begun with" not in card(weights, about, use)
    begun = dataclasses.replace(weights, config={**weights.config, "init_from": "/home/me/weights/sam_vit_b"})
    assert "| begun with | `sam_vit_b` |" in card(begun, about, use)
    assert "/home" not in card(begun, about, use)


def test_a_card_names_the_settings_of_any_schedule(run):
    weights = load_weights(run)
    schedule = {"peak_lr": 0.5, "warmup_steps": 7, "end_share": 0.25}
    cosine = dataclasses.replace(weights, config=weights.config | {"optim": {"schedule": schedule}})
    said = card(
        cosine, sam_about(from_json(SamConfig, weights.config["model"])), Use(library="jax", files="", python="")
    )
    assert "AdamW, peak rate 0.5, warmup steps 7, end share 0.25, weight decay" in said


@pytest.mark.parametrize("format", FORMATS)
def test_every_folder_has_a_card_that_says_what_it_is(exported, format):
    text = (exported / format / "README.md").read_text()
    assert text.startswith('---\nlicense: "other"\n')
    for said in [
        'datasets: ["sa1b"]',
        'pipeline_tag: "mask-generation"',
        "98,796",
        "64 x 64",
        "6 of 6",
        "peak rate 0.001",
        "1 correction",
        "| mIoU@1 | 0.3750 |",
        "| best of three, mIoU@1 | 0.6250 |",
        "at step 6",
        "9 masks of 4 held-out photos",
    ]:
        assert said in text, said
    assert "/home" not in text  # where the data lay is nobody's business
    assert "loss" not in text


def test_the_licence_is_the_owners_word(run, tmp_path):
    export(str(run), str(tmp_path / "out"), Format.HUGGINGFACE, license="cc-by-nc-4.0")
    text = (tmp_path / "out" / "README.md").read_text()
    assert 'license: "cc-by-nc-4.0"' in text
    assert "under `cc-by-nc-4.0`" in text
    assert "license_name" not in text


def test_imported_weights_say_where_they_are_from(weights, micro, tmp_path):
    config = {
        "model": json.loads(to_json(micro)),
        "imported": {"from": "sam.pth", "format": "segment-anything", "sha256": {"sam.pth": "abc123"}},
    }
    save_weights(tmp_path / "imported", params=weights[0], buffers=weights[1], config=config)
    export(str(tmp_path / "imported"), str(tmp_path / "out"), Format.HUGGINGFACE)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "imported from `sam.pth`" in text
    assert "sha256 `abc123`" in text
    assert "No validation" in text


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (SamConfig.vit_b(), "sam_vit_b.pth"),
        (SamConfig.vit_l(dtype="float32"), "sam_vit_l.pth"),
        (SamConfig.vit_h(), "sam_vit_h.pth"),
        (SamConfig.vit_h(image_size=(512, 512)), "sam.pth"),
        (SamConfig.tiny(), "sam.pth"),
    ],
)
def test_only_the_registrys_own_have_its_names(config, name):
    assert file_name(config) == name


def refused(capsys, *arguments: str) -> str:
    assert main(["export", *arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("samjax: ")
    return said[0]


def test_a_folder_with_content_is_left_as_it_is(run, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    said = refused(capsys, "--checkpoint", str(run), "--format", "huggingface", "--out", str(tmp_path))
    assert "exists already" in said
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    refused(capsys, "--checkpoint", str(run), "--format", "huggingface", "--out", str(tmp_path / "notes.txt"))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_filled(run, tmp_path):
    (tmp_path / "out").mkdir()
    made = tmp_path / "made"
    made.mkdir()
    export(str(run), str(tmp_path / "out"), Format.SEGMENT_ANYTHING)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"sam.pth", "README.md"}
    assert (tmp_path / "out").stat().st_mode & 0o777 == made.stat().st_mode & 0o777


def test_a_failed_export_leaves_nothing(run, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "card", lambda *_, **__: full())
    said = refused(capsys, "--checkpoint", str(run), "--format", "huggingface", "--out", str(tmp_path / "out"))
    assert "No space left" in said
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "load_weights_and_config", lambda *_, **__: pytest.fail("weights were read"))
    (tmp_path / "file").write_text("mine")
    given = ("--checkpoint", "runs", "--format", "huggingface", "--out")
    assert "file is a file, expected a folder" in refused(capsys, *given, str(tmp_path / "file" / "below" / "out"))
    assert "/proc/1/out cannot be written" in refused(capsys, *given, "/proc/1/out")


def test_a_frame_that_is_not_square_is_not_theirs(micro, tmp_path, capsys):
    wide = dataclasses.replace(micro, image_size=(64, 96))
    params, buffers = drawn(wide)
    save_weights(tmp_path / "w", params=params, buffers=buffers, config={"model": json.loads(to_json(wide))})
    for format in ("huggingface", "segment-anything"):
        said = refused(capsys, "--checkpoint", str(tmp_path / "w"), "--format", format, "--out", str(tmp_path / "out"))
        assert "64 x 96" in said
        assert "give stablehlo or onnx" in said
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_weights_of_another_architecture_are_refused(weights, micro, tmp_path, capsys):
    params, buffers = weights
    described = json.loads(to_json(micro))
    backbone = {"image_encoder": params["image_encoder"]}
    for name, changed, arrays, expected in [
        ("deeper", described | {"mask_decoder": described["mask_decoder"] | {"depth": 3}}, params, "arrays differ"),
        ("other", described | {"memory_bank": 7}, params, "memory_bank"),
        ("backbone", described, backbone, "missing"),
        ("nothing", None, params, "describes no model"),
    ]:
        config = {} if changed is None else {"model": changed}
        save_weights(tmp_path / name, params=arrays, buffers=buffers, config=config)
        out = tmp_path / "out"
        assert expected in refused(capsys, "--checkpoint", str(tmp_path / name), "--format", "onnx", "--out", str(out))
        assert not out.exists()


def test_no_checkpoint_bad_license_and_buckets_are_refused(run, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert "no such folder" in refused(capsys, "--checkpoint", "nowhere", "--format", "onnx", "--out", out)
    given = ["--checkpoint", str(run), "--format", "onnx"]
    assert "identifier" in refused(capsys, *given, "--out", out, "--license", "mine, all mine")
    assert "give a local folder" in refused(capsys, *given, "--out", "gs://bucket/out")
    assert "--fast" in refused(capsys, *given, "--out", out, "--fast")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("format", "missing", "extra"),
    [
        ("huggingface", "safetensors", "interop"),
        ("segment-anything", "torch", "interop"),
        ("stablehlo", "flatbuffers", "interop"),
        ("onnx", "onnx", "onnx"),
    ],
)
def test_a_package_that_is_not_installed_is_named(run, tmp_path, capsys, monkeypatch, format, missing, extra):
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    said = refused(capsys, "--checkpoint", str(run), "--format", format, "--out", str(tmp_path / "out"))
    assert f"needs {missing}" in said
    assert f"samjax[{extra}]" in said
    assert not list(tmp_path.iterdir())


def test_the_formats_of_the_command_are_those_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    said = capsys.readouterr().out
    assert all(format in said for format in FORMATS)
