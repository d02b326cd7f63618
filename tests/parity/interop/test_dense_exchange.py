"""Dense prediction models in and out on the command line: every bit, the same logits, and what cannot be is told."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
import torch
from drawn_weights import drawn
from helpers.setr_cases import AUTHORS, MMSEGMENTATION, small
from helpers.tiny_dense import save_dense
from safetensors.numpy import load_file
from transformers import SegformerConfig, SegformerForImageClassification, SegformerForSemanticSegmentation

from samjax.checkpoint.load import load_model, load_weights_and_config
from samjax.checkpoint.weights import load_weights
from samjax.cli.main import main
from samjax.core.tree import named_leaves
from samjax.interop.read_weights import import_weights
from samjax.interop.tables.segmenter import SEGMENTER
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.pixels import normalise

SIDES = (64, 96)
SEGMENTER_SMALL = DenseConfig.segmenter_b16(classes=3, linear=True, image_size=(64, 64), dtype="float32")
SEGMENTER_SMALL = dataclasses.replace(
    SEGMENTER_SMALL, encoder=dataclasses.replace(SEGMENTER_SMALL.encoder, width=16, depth=2, heads=4)
)
NAMES = {0: "sky", 1: "tree", 2: "road"}
SIZES = {
    "hidden_sizes": [4, 8, 10, 16],
    "depths": [1, 2, 1, 1],
    "decoder_hidden_size": 8,
    "classifier_dropout_prob": 0.2,
    "drop_path_rate": 0.05,
}


def command(*words) -> int:
    return main([str(word) for word in words])


def refused(capsys, *words) -> str:
    assert command(*words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A folder of transformers' SegFormer with drawn weights and statistics."""
    folder, generator = tmp_path_factory.mktemp("theirs"), torch.Generator().manual_seed(0)
    model = SegformerForSemanticSegmentation(SegformerConfig(**SIZES, num_labels=3, id2label=NAMES))
    with torch.no_grad():
        for key, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.2 * noise + (weight.ndim == 1 and key.endswith("weight")))
        model.decode_head.batch_norm.running_mean.normal_(generator=generator)
        model.decode_head.batch_norm.running_var.uniform_(0.5, 2.0, generator=generator)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def imported(theirs, tmp_path_factory):
    out = tmp_path_factory.mktemp("imported") / "weights"
    assert command("import", theirs, "--out", out, "--image-size", *SIDES) == 0
    return out


@pytest.mark.slow
def test_transformers_segformer_gives_the_same_logits(theirs, imported, agrees):
    """And its config.json, what arrays do not say."""
    loaded = load_model(imported, DenseConfig)
    config = loaded.config
    assert (config.image_size, config.classes, config.class_names) == (SIDES, 3, tuple(NAMES.values()))
    assert (config.encoder.epsilon, config.encoder.drop_path, config.head.dropout) == (1e-5, 0.05, 0.2)
    image = np.random.default_rng(0).integers(0, 256, (2, *SIDES, 3), dtype=np.uint8)
    model = SegformerForSemanticSegmentation.from_pretrained(theirs).eval()
    with torch.no_grad():
        pixels = torch.tensor(np.asarray(normalise(jnp.asarray(image))).transpose(0, 3, 1, 2))
        expected = torch.nn.functional.interpolate(model(pixels).logits, SIDES, mode="bilinear")
    ours = jax.jit(lambda model, image: model.logits(image))(loaded.model, jnp.asarray(image))
    agrees("imported SegFormer, logits", ours, expected.numpy().transpose(0, 2, 3, 1))


def test_transformers_segformer_goes_out_as_it_came(theirs, imported, tmp_path):
    """To transformers, to the authors' layout, and back."""
    assert command("export", "--checkpoint", imported, "--format", "huggingface", "--out", tmp_path / "hub") == 0
    given, written = (load_file(folder / "model.safetensors") for folder in (theirs, tmp_path / "hub"))
    assert given.keys() == written.keys()
    for key, array in given.items():
        np.testing.assert_array_equal(written[key], array, err_msg=key)
    own, info = SegformerForSemanticSegmentation.from_pretrained(tmp_path / "hub", output_loading_info=True)
    assert not any(info.values())
    assert own.config.id2label == NAMES
    assert command("export", "--checkpoint", imported, "--format", "authors", "--out", tmp_path / "authors") == 0
    content = torch.load(tmp_path / "authors" / "segformer.pth", weights_only=True)
    assert content["meta"]["CLASSES"] == tuple(NAMES.values())
    extra = {"decode_head.conv_seg.weight": torch.zeros(3, 8, 1, 1)}  # as every file of mmsegmentation has
    torch.save({"state_dict": content["state_dict"] | extra}, tmp_path / "x.pth")
    assert command("import", tmp_path / "x.pth", "--out", tmp_path / "back", "--image-size", *SIDES) == 0
    same(imported, tmp_path / "back")
    back = load_weights_and_config(tmp_path / "back", DenseConfig).config
    assert back.encoder.epsilon == 1e-6


def same(first, second) -> None:
    before, after = (load_weights(folder) for folder in (first, second))
    for one, other in ((before.params, after.params), (before.buffers, after.buffers)):
        one, other = named_leaves(one), named_leaves(other)
        assert one.keys() == other.keys()
        for path, leaf in one.items():
            np.testing.assert_array_equal(other[path], leaf, err_msg=path)


@pytest.mark.slow
def test_a_classifiers_backbone_is_a_part(tmp_path, capsys):
    SegformerForImageClassification(SegformerConfig(**SIZES)).save_pretrained(tmp_path / "hub")
    assert command("import", tmp_path / "hub", "--out", tmp_path / "backbone") == 0
    said = capsys.readouterr().out
    assert "the backbone of a SegFormer" in said
    assert "not used classifier.bias, classifier.weight" in said
    assert set(load_weights(tmp_path / "backbone").params) == {"encoder"}


@pytest.mark.slow
@pytest.mark.parametrize("layout", [AUTHORS, MMSEGMENTATION])
def test_setr_goes_out_as_it_came(layout, tmp_path):
    config = small(layout, "mla")
    encoder = dataclasses.replace(config.encoder, width=64, heads=1)
    config = dataclasses.replace(config, image_size=(64, 64), encoder=encoder)
    weights = save_dense(config, tmp_path / "weights")
    assert command("export", "--checkpoint", weights, "--format", "authors", "--out", tmp_path / "out") == 0
    content = torch.load(tmp_path / "out" / "setr.pth", weights_only=True)["state_dict"]
    content["backbone.cls_token"] = torch.zeros(1, 1, 64)  # which MLA's files have and do not use
    torch.save({"state_dict": content}, tmp_path / "x.pth")
    assert command("import", tmp_path / "x.pth", "--out", tmp_path / "back") == 0
    same(weights, tmp_path / "back")
    assert load_weights_and_config(tmp_path / "back", DenseConfig).config == config
    assert content["decode_head.cls.weight" if layout == AUTHORS else "decode_head.conv_seg.weight"].shape[0] == 3


def test_a_variant_beside_segmenters_file_is_read(tmp_path):
    """Of a frame that the table of positions does not tell from a square."""
    state = SEGMENTER.to_torch(*drawn(SEGMENTER_SMALL), SEGMENTER_SMALL)
    torch.save({"model": {key: torch.from_numpy(array) for key, array in state.items()}}, tmp_path / "checkpoint.pth")
    (tmp_path / "variant.yml").write_text("net_kwargs: {n_heads: 4, image_size: [32, 128]}\n")
    config = import_weights(tmp_path / "checkpoint.pth").reading.config
    assert (config.encoder.heads, config.image_size) == (4, (32, 128))


@pytest.mark.slow
def test_onnx_and_stablehlo_give_the_same_logits(imported, tmp_path, agrees):
    loaded = load_model(imported, DenseConfig)
    image = np.random.default_rng(0).integers(0, 256, (2, *SIDES, 3), dtype=np.uint8)
    sizes = np.array([SIDES, (40, 50)], np.int32)
    ours = jax.jit(lambda model, *inputs: model.logits(*inputs))(loaded.model, jnp.asarray(image), jnp.asarray(sizes))
    for format in ("onnx", "stablehlo"):
        assert command("export", "--checkpoint", imported, "--format", format, "--out", tmp_path / format) == 0
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    (found,) = session.run(["logits"], {"image": image, "valid_size": sizes})
    agrees("SegFormer by ONNX Runtime, logits", found, ours)
    program = jax.export.deserialize(bytearray((tmp_path / "stablehlo" / "model.stablehlo").read_bytes())).call
    found = jax.jit(program)(load_file(tmp_path / "stablehlo" / "model.safetensors"), image, sizes)["logits"]
    agrees("SegFormer by StableHLO, logits", found, ours)


def edited(theirs, folder, **fields):
    """Copy a folder with other fields in its config.json."""
    folder.mkdir()
    config = json.loads((theirs / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    (folder / "model.safetensors").write_bytes((theirs / "model.safetensors").read_bytes())
    return folder


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hidden_act": "relu"}, "hidden_act is 'relu', expected 'gelu'"),
        ({"depths": [1, 1, 1, 1]}, "depths is [1, 1, 1, 1], but the arrays beside it are of [1, 2, 1, 1]"),
        ({"model_type": "pvt"}, "is of a model of type 'pvt', expected 'segformer'"),
        ({"num_attention_heads": [3, 2, 5, 8]}, "model.encoder.widths[0] is 4"),
        ({"id2label": {"0": "sky"}}, "expected the names of classes 0 to 2"),
        ({"num_attention_heads": "many"}, "num_attention_heads is 'many', expected four numbers"),
    ],
)
def test_a_config_that_does_not_fit_is_told(fields, said, theirs, tmp_path, capsys):
    folder = edited(theirs, tmp_path / "edited", **fields)
    assert said in refused(capsys, "import", folder, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_no_layout_holds_is_told(tmp_path, capsys):
    """Transformers has no PVT with Semantic FPN; SETR's authors have no head as mmsegmentation's."""
    setr = small(MMSEGMENTATION, "mla")
    setr = dataclasses.replace(setr, head=dataclasses.replace(setr.head, align_corners=True))
    weights = save_dense(setr, tmp_path / "setr")
    said = refused(capsys, "export", "--checkpoint", weights, "--format", "huggingface", "--out", tmp_path / "x")
    assert (
        "--format huggingface takes a SegFormer or a DPT: give another --format, authors or stablehlo or onnx or"
        in said
    )
    said = refused(capsys, "export", "--checkpoint", weights, "--format", "authors", "--out", tmp_path / "x")
    assert "SETR's authors cannot hold this model, which has model.head.kernel 1, where that has 3" in said
