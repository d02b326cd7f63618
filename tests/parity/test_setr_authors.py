"""SETR against its authors' own code and mmsegmentation's, which also write the goldens of the default run.

    SAMJAX_SETR_CHECKOUT=.../SETR SAMJAX_MMSEGMENTATION_CHECKOUT=.../packages \\
        pytest -m slow -n 0 tests/parity/test_setr_authors.py

With SAMJAX_WRITE_GOLDEN=1 beside them tests/golden/setr.npz is written.
"""

import fnmatch
import functools
import math
import os

import jax
import numpy as np
import pytest
import setr_checkouts
import torch
from helpers.golden_logits import keep, outputs, photos, sampled
from helpers.setr_cases import CLASSES, LEVEL_WIDTH, PUBLISHED, SETR_GOLDEN, WIDTH, setr, small

from samjax.interop.tables.setr_rows import AUTHORS, MMSEGMENTATION, UNUSED
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.structure import abstract_model

pytestmark = pytest.mark.slow
VARIABLES = {
    AUTHORS: setr_checkouts.AUTHORS_VARIABLE,
    MMSEGMENTATION: setr_checkouts.MMSEGMENTATION_VARIABLE,
}
NAMES = {
    (AUTHORS, "naive"): "SETR_Naive_512x512_160k_ade20k_bs_16",
    (AUTHORS, "pup"): "SETR_PUP_512x512_160k_ade20k_bs_16",
    (AUTHORS, "mla"): "SETR_MLA_512x512_160k_ade20k_bs_16",
    (MMSEGMENTATION, "naive"): "setr_vit-l_naive_8xb2-160k_ade20k-512x512",
    (MMSEGMENTATION, "pup"): "setr_vit-l_pup_8xb2-160k_ade20k-512x512",
    (MMSEGMENTATION, "mla"): "setr_vit-l-mla_8xb1-160k_ade20k-512x512",
}
NORM = {"type": "BN"}
GOLDENS: dict[str, np.ndarray] = {}


@pytest.fixture(params=NAMES, ids="-".join)
def case(request):
    layout, name = request.param
    if VARIABLES[layout] not in os.environ:
        pytest.skip(f"{VARIABLES[layout]} names no checkout")
    return layout, name


@pytest.fixture(scope="module", autouse=True)
def goldens():
    yield
    if "SAMJAX_WRITE_GOLDEN" in os.environ:
        keep(SETR_GOLDEN, GOLDENS)


def published(layout: str, name: str) -> dict:
    """Their model as published, with batch norms that need no process group."""
    config = (setr_checkouts.authors_config if layout == AUTHORS else setr_checkouts.mmsegmentation_config)(name)
    for one in (config, config.get("neck", {}), config["decode_head"], *config["auxiliary_head"]):
        if "norm_cfg" in one:
            one["norm_cfg"] = NORM
    own = {"init_cfg": None} if layout == MMSEGMENTATION else {"random_init": True}
    config["backbone"] |= own
    return config


def shrunk(config: dict, ours: DenseConfig, layout: str) -> dict:
    """The same of the sizes of `ours`."""
    taps = {tap: place for place, tap in enumerate(_taps(config, layout))}
    backbone, encoder = config["backbone"], ours.encoder
    heads = [config["decode_head"], *config["auxiliary_head"]]
    if layout == AUTHORS:
        backbone |= {"img_size": ours.image_size[0], "embed_dim": WIDTH, "depth": encoder.depth, "num_heads": 2}
        if "mla_index" in backbone:
            backbone["mla_index"] = tuple(range(encoder.depth))
            config["decode_head"]["mlahead_channels"] = LEVEL_WIDTH
        for head in heads:
            head |= {"img_size": ours.image_size[0], "num_classes": CLASSES}
            if "mla_index" not in backbone:
                head |= {"embed_dim": WIDTH, "in_index": taps[head["in_index"]]}
        return config
    backbone |= {"img_size": ours.image_size, "embed_dims": WIDTH, "num_layers": encoder.depth, "num_heads": 2}
    backbone["out_indices"] = tuple(range(encoder.depth))
    for head in heads:
        head |= {"num_classes": CLASSES} | ({} if "neck" in config else {"in_channels": WIDTH})
    if "neck" in config:
        config["neck"]["in_channels"] = [WIDTH] * encoder.depth
        config["decode_head"] |= {"mla_channels": LEVEL_WIDTH, "channels": LEVEL_WIDTH * encoder.depth}
    return config


def _taps(config: dict, layout: str) -> tuple[int, ...]:
    """The blocks after which they take maps."""
    backbone = config["backbone"]
    if layout == MMSEGMENTATION:
        return tuple(backbone["out_indices"])
    heads = [*config["auxiliary_head"], config["decode_head"]]
    return tuple(backbone.get("mla_index", ())) or tuple(sorted({head["in_index"] for head in heads}))


def built(layout: str, config: dict) -> setr_checkouts.Model:
    return (setr_checkouts.authors_model if layout == AUTHORS else setr_checkouts.mmsegmentation_model)(config)


def packages(layout: str):
    return setr_checkouts.authors() if layout == AUTHORS else setr_checkouts.mmsegmentation()


def is_unused(key: str, layout: str) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in UNUSED[layout])


def test_logits(case, agrees):
    layout, name = case
    ours = small(layout, name)
    model, weights = setr(ours, layout)
    with packages(layout), torch.no_grad():
        theirs = built(layout, shrunk(published(layout, NAMES[case]), ours, layout)).eval()
        missing, unexpected = theirs.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
        assert not unexpected
        assert [key for key in missing if not is_unused(key, layout)] == []
        image = photos(ours.image_size)
        expected = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2).copy()))
    found = outputs(model, image)
    order = range(len(expected))
    if (layout, name) == (MMSEGMENTATION, "mla"):
        order = [0, *order[:0:-1]]  # its auxiliary heads begin at the deepest map
    for index, place in enumerate(order):
        their = expected[place].numpy().transpose(0, 2, 3, 1)
        agrees(f"{layout} {name}, logits {index}", found[index], their)
        GOLDENS[f"{layout}/{name}/{index}"] = sampled(their)
    assert len(found) == len(expected)


def test_counts_and_taps(case, monkeypatch):
    """Of the published sizes, unused parameters apart."""
    layout, ours = case[0], PUBLISHED[case]
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))  # its items are read
    with packages(layout), torch.device("meta"):
        config = published(layout, NAMES[case])
        theirs = built(layout, config)
    used = sum(value.numel() for key, value in theirs.named_parameters() if not is_unused(key, layout))
    if not ours.encoder.class_token:
        used -= ours.encoder.width  # the class token's position
    else:
        used += theirs.backbone.cls_token.numel()
    params = jax.tree.leaves(abstract_model(ours.make)[1])
    assert sum(math.prod(leaf.shape) for leaf in params) == used
    encoder = ours.encoder
    assert tuple(sorted({*encoder.taps, encoder.depth - 1})) == _taps(config, layout)
