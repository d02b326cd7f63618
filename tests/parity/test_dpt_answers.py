"""DPT against transformers': depth and segmentation, Large and Hybrid, float32."""

import copy
import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from helpers.golden_logits import model_of
from safetensors.numpy import load_file
from transformers import AutoImageProcessor, BitConfig, DPTConfig, DPTForDepthEstimation, DPTForSemanticSegmentation

from samjax.checkpoint.load import load_model
from samjax.checkpoint.weights import load_weights
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.core.tree import matches, named_leaves
from samjax.interop.mapping import Naming, write_out
from samjax.interop.read_weights import import_weights
from samjax.interop.tables.dpt_rows import HUB, UNUSED, dpt_rows, dpt_slots
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.models.heads.dpt import DptDepthConfig, DptSegmentationConfig
from samjax.models.resnet import ResNetConfig
from samjax.models.vit.dpt_vit import DptVitConfig

CLASSES, WIDTH, TABLE = 5, 8, 64
NAMES = tuple(f"class {number}" for number in range(CLASSES))
PLAIN = DptVitConfig(width=16, depth=5, heads=2, taps=(0, 2, 3, 4), table_size=(TABLE, TABLE))
HYBRID = dataclasses.replace(
    PLAIN, taps=(1, 4), resnet=ResNetConfig(stem=8, widths=(32, 64, 96), depths=(1, 2, 1), groups=4)
)
CHANNELS = {PLAIN: (6, 10, 12, 14), HYBRID: (0, 0, 12, 14)}


def config_of(encoder: DptVitConfig, *, depth: bool) -> DenseConfig:
    head = DptDepthConfig if depth else DptSegmentationConfig
    return DenseConfig(
        image_size=(TABLE, TABLE),
        classes=1 if depth else CLASSES,
        encoder=encoder,
        head=head(width=WIDTH, map_widths=CHANNELS[encoder], **({} if depth else {"dropout": 0.0})),
        dtype="float32",
    )


def theirs(encoder: DptVitConfig, *, depth: bool) -> torch.nn.Module:
    """Return transformers' model of the config's sizes, with drawn weights and running statistics.

    Embeddings and the ResNet's kernels are small, so that the epsilons of the first norm and of the kernels' variance
    count.
    """
    resnet = encoder.resnet
    bit, first = None, []
    if resnet is not None:
        bit = BitConfig(
            embedding_size=resnet.stem,
            hidden_sizes=list(resnet.widths),
            depths=list(resnet.depths),
            num_groups=resnet.groups,
            layer_type="bottleneck",
            global_padding="same",
            embedding_dynamic_padding=True,
            out_features=["stage1", "stage2", "stage3"],
        )
        first = [0, 1]
    channels = zip(CHANNELS[encoder], encoder.channels, strict=True)
    config = DPTConfig(
        hidden_size=encoder.width,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.heads,
        intermediate_size=encoder.width * encoder.mlp_ratio,
        layer_norm_eps=1e-6,
        image_size=TABLE,
        is_hybrid=resnet is not None,
        backbone_config=bit,
        backbone_featmap_shape=None if resnet is None else [1, resnet.widths[-1], TABLE // 16, TABLE // 16],
        backbone_out_indices=[*first, *encoder.taps],
        neck_hidden_sizes=[map_widths or given for map_widths, given in channels],
        fusion_hidden_size=WIDTH,
        use_batch_norm_in_fusion_residual=not depth,
        semantic_classifier_dropout=0.0,
        num_labels=CLASSES,
        id2label=dict(enumerate(NAMES)),
    )
    model = (DPTForDepthEstimation if depth else DPTForSemanticSegmentation)(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, weight in model.state_dict().items():
            if key.endswith("num_batches_tracked"):
                continue
            noise = torch.randn(weight.shape, generator=generator)
            if key.endswith("running_var"):
                noise = 1 + 0.2 * noise.abs()
            elif weight.ndim == 1 and "norm" in key and key.endswith("weight"):
                noise = 1 + 0.2 * noise
            elif ".bit." in key and weight.ndim == 4:
                noise = 2e-4 * noise
            elif weight.ndim > 1:
                noise = noise / math.sqrt(weight[0].numel())
            if key.startswith("dpt.embeddings") and ".bit." not in key:
                noise = 1e-3 * noise
            weight.copy_(noise)
        if depth:
            model.head.head[4].weight.mul_(0.1)
            model.head.head[4].bias.fill_(1.0)  # most pixels above zero
    return model.eval()


def weights_of(model: torch.nn.Module, config: DenseConfig, folder) -> DenseModel:
    """Return ours with the weights that transformers writes to a file."""
    model.save_pretrained(folder)
    rows, slots = dpt_rows(config, prefixes={HUB: ""}), dpt_slots(config)
    known = {key for entry in write_out(rows, slots, Naming(name=HUB, title=HUB, signs=())) for key in entry.keys}
    given = load_file(folder / "model.safetensors")
    arrays = {key: array for key, array in given.items() if key in known or not is_unused(key)}
    return model_of(config, rows, slots, HUB, arrays)


def is_unused(key: str) -> bool:
    return any(matches(key, pattern) for pattern in UNUSED[HUB])


def answer(model: torch.nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return their depth or logits, and auxiliary logits of the second finest map, [b c h w].

    Put together from their parts: the whole takes square photos alone, and a hybrid those of one size; and its
    auxiliary classes are those of the finest map.
    """
    height, width = image.shape[2:]
    model.dpt.embeddings.image_size = (height, width)
    outputs = model.dpt(image, output_hidden_states=True)
    first = list(outputs.intermediate_activations or [])
    states = first + [outputs.hidden_states[1 + tap] for tap in model.config.backbone_out_indices[len(first) :]]
    fused = model.neck(states, height // 16, width // 16)
    out = model.head(fused)
    return (out[:, None], None) if out.ndim == 3 else (out, model.auxiliary_head(fused[-2]))


def channels_last(maps: torch.Tensor) -> np.ndarray:
    return maps.detach().numpy().transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Their model and ours, each made once."""

    @functools.cache
    def get(encoder: DptVitConfig, depth: bool):
        reference, config = theirs(encoder, depth=depth), config_of(encoder, depth=depth)
        return reference, weights_of(reference, config, tmp_path_factory.mktemp("dpt"))

    return get


PHOTOS = np.random.default_rng(1).normal(size=(2, 64, 96, 3)).astype(np.float32)
"""Of another size than the tables of positions, and not square."""
PLAIN_OR_HYBRID = {"plain": PLAIN, "hybrid": HYBRID}
logits = jax.jit(lambda model, image: model.logits(image))


@pytest.mark.parametrize("name", [pytest.param("plain", marks=pytest.mark.slow), "hybrid"])
@torch.no_grad()
def test_depth(name, pair, agrees):
    reference, model = pair(PLAIN_OR_HYBRID[name], True)
    expected = channels_last(answer(reference, torch.from_numpy(PHOTOS.transpose(0, 3, 1, 2)))[0])
    assert (expected > 0).mean() > 0.5
    agrees(f"DPT {name}, depth", logits(model, PHOTOS), expected)


@pytest.fixture
def in_training(pair):
    """Their segmentation in training without dropout, and ours of photos: logits, auxiliary logits, the deepest unit's
    statistics."""

    def get(encoder: DptVitConfig):
        reference, model = pair(encoder, False)
        reference = copy.deepcopy(reference).train()
        reference.auxiliary_head.head[3].p = 0.0
        graph, variables = nnx.split(model)
        variables = nnx.to_pure_dict(variables)

        def apply(image):
            model = nnx.merge(graph, variables)
            out = model(image, key=jax.random.key(0))
            norm = model.head.fusion.blocks[3].unit2.norm2
            return model.enlarge(out.logits, image.shape[1:3]), *out.auxiliary, norm.mean[...], norm.variance[...]

        return reference, apply

    return get


@pytest.mark.parametrize("name", ["plain", pytest.param("hybrid", marks=pytest.mark.slow)])
@torch.no_grad()
def test_segmentation_in_training(name, in_training, agrees):
    """With the batch's own statistics, which the running ones take up."""
    reference, apply = in_training(PLAIN_OR_HYBRID[name])
    expected, auxiliary = answer(reference, torch.from_numpy(PHOTOS.transpose(0, 3, 1, 2)))
    logits, second, mean, variance = jax.jit(apply)(PHOTOS)
    deepest = reference.neck.fusion_stage.layers[0].residual_layer2.batch_norm2
    agrees(f"DPT {name}, logits in training", logits, channels_last(expected))
    agrees(f"DPT {name}, auxiliary logits", second, channels_last(auxiliary))
    agrees(f"DPT {name}, running mean", mean, deepest.running_mean.numpy())
    agrees(f"DPT {name}, running variance", variance, deepest.running_var.numpy())


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN_OR_HYBRID)
def test_gradient_of_segmentation(name, in_training, agrees):
    """Of a weighted sum of logits and auxiliary logits by the photos."""
    reference, apply = in_training(PLAIN_OR_HYBRID[name])
    image = torch.from_numpy(PHOTOS.transpose(0, 3, 1, 2).copy()).requires_grad_()
    maps, draw = answer(reference, image), np.random.default_rng(2)
    weights = [draw.normal(size=channels_last(one).shape).astype(np.float32) for one in maps]
    sums = [(one * torch.from_numpy(w.transpose(0, 3, 1, 2))).sum() for one, w in zip(maps, weights, strict=True)]
    torch.stack(sums).sum().backward()

    def loss(image):
        return sum(jnp.sum(one * weight) for one, weight in zip(apply(image), weights, strict=False))

    agrees(f"DPT {name}, the photos' gradient", jax.jit(jax.grad(loss))(PHOTOS), channels_last(image.grad))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN_OR_HYBRID)
@pytest.mark.parametrize("depth", [True, False], ids=["depth", "segmentation"])
@torch.no_grad()
def test_whole_models(name, depth, pair, agrees):
    """Square photos of the tables' size, which transformers takes as it is."""
    reference, model = pair(PLAIN_OR_HYBRID[name], depth)
    image = PHOTOS[:, :, :TABLE]
    reference.dpt.embeddings.image_size = (TABLE, TABLE)
    expected = reference(torch.from_numpy(image.transpose(0, 3, 1, 2).copy()))
    expected = expected.predicted_depth[:, None] if depth else expected.logits
    agrees(f"DPT {name}, whole, {'depth' if depth else 'logits'}", logits(model, image), channels_last(expected))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN_OR_HYBRID)
@pytest.mark.parametrize("depth", [True, False], ids=["depth", "segmentation"])
@torch.no_grad()
def test_a_folder_comes_in_and_goes_out(name, depth, pair, agrees, tmp_path):
    """Ours of a folder that transformers saved gives its outputs; transformers' of ours gives them again, with every
    key that it wants; and the arrays are the same bits when they come back."""
    encoder = PLAIN_OR_HYBRID[name]
    reference, _ = pair(encoder, depth)
    reference.dpt.embeddings.image_size = (TABLE, TABLE)
    reference.save_pretrained(tmp_path / "theirs")
    run("import", tmp_path / "theirs", "--out", tmp_path / "ours", "--image-size", TABLE, TABLE)
    loaded = load_model(tmp_path / "ours", DenseConfig)
    assert loaded.config.encoder == encoder
    assert loaded.config.class_names == (() if depth else NAMES)
    run("export", "--checkpoint", tmp_path / "ours", "--format", "huggingface", "--out", tmp_path / "out")
    again, info = type(reference).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    photos = np.random.default_rng(3).integers(0, 256, (1, TABLE, TABLE, 3), dtype=np.uint8)
    pixels = AutoImageProcessor.from_pretrained(tmp_path / "out")(photos[0], return_tensors="pt").pixel_values
    expected, found = (one.eval()(pixels)[0] for one in (reference, again))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    expected = expected[:, None] if depth else expected
    agrees(f"DPT {name}, exported", logits(loaded.model, jnp.asarray(photos)), channels_last(expected))
    run("import", tmp_path / "out", "--out", tmp_path / "back", "--image-size", TABLE, TABLE)
    before, after = (load_weights(tmp_path / folder) for folder in ("ours", "back"))
    assert before.config["model"] == after.config["model"]
    for one, other in ((before.params, after.params), (before.buffers, after.buffers)):
        one, other = named_leaves(one), named_leaves(other)
        assert one.keys() == other.keys()
        for path, leaf in one.items():
            np.testing.assert_array_equal(other[path], leaf, err_msg=path)


def run(*words) -> None:
    assert main([str(word) for word in words]) == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"qkv_bias": False}, r"samjax does not support .*: qkv_bias is False, expected True"),
        ({"num_hidden_layers": 7}, r"num_hidden_layers is 7, but the arrays beside it are of 5"),
        (
            {"reassemble_factors": [4, 2, 1, 1]},
            r"reassemble_factors is \[4, 2, 1, 1\], but the arrays beside it are of",
        ),
        ({"id2label": {"0": "sky"}}, r"expected the names of classes 0 to 4"),
        ({"backbone_config": {"model_type": "bit"}}, r"backbone_config is given of a model that is no hybrid"),
    ],
)
def test_a_config_at_odds_with_its_arrays_is_refused(fields, said, pair, tmp_path):
    reference, _ = pair(PLAIN, False)
    reference.save_pretrained(tmp_path / "theirs")
    described = tmp_path / "theirs" / "config.json"
    described.write_text(json.dumps({**json.loads(described.read_text()), **fields}))
    with pytest.raises(UserError, match=said):
        import_weights(tmp_path / "theirs")
