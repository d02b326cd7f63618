"""HRFormer and its OCR head against the authors' own code, which also writes the goldens of the default run.

    SAMJAX_HRFORMER_CHECKOUT=.../HRFormer pytest tests/parity/test_hrformer_authors.py

With SAMJAX_WRITE_GOLDEN=1 beside it tests/golden/hrformer.npz is written.
"""

import dataclasses
import importlib
import os
import types

import hrformer_checkout
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from agreement import norm_error
from flax import nnx
from helpers.drawn_by_key import drawn_by_key
from helpers.hrformer_cases import (
    CLASSES,
    CONFIG,
    GOLDEN,
    OCR,
    SIDES,
    STATISTICS,
    backbone,
    maps,
    ocr_head,
    outputs,
    photos,
)

from samjax.core.tree import named_leaves
from samjax.interop.mapping import Naming, arrays_to_torch, write_out
from samjax.interop.tables.hrnet_rows import AUTHORS, hrnet_rows
from samjax.interop.tables.ocr_rows import ocr_rows
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.hrnet.hrnet import HrnetConfig

pytestmark = [
    pytest.mark.skipif(
        hrformer_checkout.VARIABLE not in os.environ, reason=f"{hrformer_checkout.VARIABLE} names no checkout"
    ),
    pytest.mark.filterwarnings("ignore:torch.meshgrid"),
]
GOLDENS: dict[str, np.ndarray] = {}


@pytest.fixture(scope="module", autouse=True)
def goldens():
    with hrformer_checkout.checkout():
        yield
    if "SAMJAX_WRITE_GOLDEN" in os.environ:
        np.savez_compressed(GOLDEN, **GOLDENS)


def their_config(config: HrnetConfig) -> dict:
    stages = {"DROP_PATH_RATE": 0.0, "STAGE1": {"NUM_CHANNELS": [64], "BLOCK": "BOTTLENECK", "NUM_BLOCKS": [2]}}
    for stage, modules in enumerate(config.modules):
        branches = stage + 2
        stages[f"STAGE{branches}"] = {
            "NUM_MODULES": modules,
            "NUM_BRANCHES": branches,
            "NUM_BLOCKS": [config.blocks] * branches,
            "NUM_CHANNELS": list(config.widths[:branches]),
            "NUM_HEADS": list(config.heads[:branches]),
            "NUM_MLP_RATIOS": [config.mlp_ratio] * branches,
            "NUM_WINDOW_SIZES": [config.window] * branches,
            "BLOCK": "TRANSFORMER_BLOCK",
        }
    return stages


def their_ocr() -> torch.nn.Module:
    return hrformer_checkout.Ocr(sum(CONFIG.widths), OCR.width, OCR.key_width, OCR.auxiliary_width, CLASSES)


def load(module: torch.nn.Module, weights: dict[str, np.ndarray]) -> torch.nn.Module:
    """Load weights of every key but counters and indices; the module then computes in double precision: in single its
    error in training, of batch norms after batch norms, is as large as ours."""
    missing, unexpected = module.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    assert not unexpected
    assert all(key.endswith(("num_batches_tracked", "relative_position_index")) for key in missing)
    return module.double()


def first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(0, 3, 1, 2).astype(np.float64))


def last(image: torch.Tensor) -> np.ndarray:
    return image.detach().numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", SIDES)
def test_maps(name, training, agrees):
    ours, weights = backbone()
    theirs = load(hrformer_checkout.backbone(their_config(CONFIG)), weights).train(training)
    image = photos(SIDES[name])
    with torch.no_grad():
        expected = list(map(last, theirs(first(image))))
    found, after = outputs(ours, image, training=training)
    case = f"{name}/{'training' if training else 'evaluation'}"
    for level, (one, their) in enumerate(zip(found, expected, strict=True)):
        agrees(f"HRFormer {case}, map {level}", one, their)
        GOLDENS[f"{case}/{level}"] = their[:1].astype(np.float32)
    if training:
        state, after = theirs.state_dict(), named_leaves(after)
        for key, path in STATISTICS.items():
            agrees(f"HRFormer {case}, running statistics", after[path], state[key].numpy())
            GOLDENS[f"{case}/{key}"] = state[key].numpy().astype(np.float32)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_logits(training, agrees):
    ours, weights = ocr_head()
    theirs = load(their_ocr(), weights).train(training)
    with torch.no_grad():
        expected = [last(one) for one in theirs([first(one) for one in maps()])]
    found, _ = outputs(ours, maps(), training=training)
    case = f"ocr/{'training' if training else 'evaluation'}"
    for part, one, their in zip(("auxiliary", "logits"), (found.auxiliary[0], found.logits), expected, strict=True):
        agrees(f"OCR {case}, {part}", one, their)
        GOLDENS[f"{case}/{part}"] = their[:1].astype(np.float32)


def test_gradients(agrees):
    """Of the photo and of every weight, in training, through backbone and head."""
    (ours, weights), (head, of_head) = backbone(), ocr_head()
    theirs = load(hrformer_checkout.backbone(their_config(CONFIG)), weights)
    their_head = load(their_ocr(), of_head)
    image = first(photos(SIDES["odd"])).requires_grad_()
    auxiliary, logits = their_head(theirs(image))
    ((auxiliary**2).sum() + (logits**2).sum()).backward()
    graph, params, rest = nnx.split((ours, head), nnx.Param, ...)
    rest = nnx.to_pure_dict(rest)

    @jax.jit
    def gradients(params, image):
        def loss(params, image):
            ours, head = nnx.merge(graph, params, rest)
            key = jax.random.key(0)
            out = head(ours(image, key=key), key=key)
            return jnp.sum(out.auxiliary[0] ** 2) + jnp.sum(out.logits**2)

        return jax.grad(loss, argnums=(0, 1))(params, image)

    of_params, of_image = gradients(params, jnp.asarray(photos(SIDES["odd"])))
    agrees("HRFormer with OCR, gradient of the photo", of_image, last(image.grad), measure=norm_error)
    found = named_leaves(nnx.to_pure_dict(of_params))
    for index, (module, rows) in enumerate(
        ((theirs, hrnet_rows(CONFIG, prefixes={AUTHORS: ""})), (their_head, ocr_rows(OCR, prefixes={AUTHORS: ""})))
    ):
        own = {path[2:]: np.asarray(leaf) for path, leaf in found.items() if path.startswith(f"{index}/")}
        shapes = {path: leaf.shape for path, leaf in own.items()}
        table = [entry for entry in write_out(rows, {}, Naming(name=AUTHORS, title="", signs=())) if entry.path in own]
        by_key = arrays_to_torch(table, own, shapes)
        expected = {key: weight.grad.numpy() for key, weight in module.named_parameters()}
        assert by_key.keys() == expected.keys()
        joined = [np.concatenate([part[key].ravel() for key in expected]) for part in (by_key, expected)]
        agrees(f"HRFormer with OCR, gradients of weights, part {index}", *joined, measure=norm_error)


@pytest.mark.parametrize("size", ["hrt_small", "hrt_base_win15"])
def test_published_networks(size, agrees):
    """Their whole nets of the published sizes: every key, every array's shape, and logits.

    Their batch norms first remember a photo's statistics: with drawn ones activations grow from block to block, until
    a softmax over the pixels sees one of them alone.
    """
    config = DenseConfig.hrformer_s(classes=19) if size == "hrt_small" else DenseConfig.hrformer_b_window15(classes=19)
    config = dataclasses.replace(config, dtype="float32")
    parts = {
        "encoder": hrnet_rows(config.encoder, prefixes={AUTHORS: "backbone."}),
        "head": ocr_rows(config.head, prefixes={AUTHORS: ""}),
    }
    rows = [dataclasses.replace(row, path=f"{part}/{row.path}") for part, own in parts.items() for row in own]
    _, weights = drawn_by_key(config.make, rows, {}, AUTHORS)
    nets = importlib.import_module("lib.models.nets.hrt")
    answers = {("network", "backbone"): size, ("network", "bn_type"): "torchbn", ("data", "num_classes"): 19}
    net = nets.HRT_SMALL_OCR_V2 if size == "hrt_small" else nets.HRT_BASE_OCR_V2
    theirs = load(net(types.SimpleNamespace(get=lambda *names: answers[names])), weights)
    for module in theirs.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    image = photos((65, 97))
    torch.manual_seed(0)  # of dropout and drop path
    with torch.no_grad():
        theirs.train()(first(image))
        weights = {key: array.numpy().astype(np.float32) for key, array in theirs.state_dict().items()}
        expected = last(load(theirs, weights).eval()(first(image))[1])
    ours, _ = drawn_by_key(config.make, rows, {}, AUTHORS, draw=lambda key, shape: weights[key])
    logits = jax.jit(lambda model, image: model.logits(image))(ours, jnp.asarray(image))
    agrees(f"{size} with OCR, logits of the photos", logits, expected)
