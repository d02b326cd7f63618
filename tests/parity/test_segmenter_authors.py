"""Segmenter against its authors' own code, which also writes the goldens of the default run.

    SAMJAX_SEGMENTER_CHECKOUT=.../segmenter pytest -m slow -n 0 tests/parity/test_segmenter_authors.py

With SAMJAX_WRITE_GOLDEN=1 beside it tests/golden/segmenter.npz is written.
"""

import fnmatch
import functools
import math
import os

import jax
import numpy as np
import pytest
import segmenter_checkout
import torch
from helpers.golden_logits import keep, outputs, photos, sampled
from helpers.segmenter_cases import CASES, SEGMENTER_GOLDEN, SQUARE, resized, segmenter, small

from samjax.interop.tables.segmenter_rows import AUTHORS, UNUSED
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.structure import abstract_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        segmenter_checkout.VARIABLE not in os.environ, reason=f"{segmenter_checkout.VARIABLE} names no checkout"
    ),
]
GOLDENS: dict[str, np.ndarray] = {}


@pytest.fixture(scope="module", autouse=True)
def goldens():
    with segmenter_checkout.checkout():
        yield
    if "SAMJAX_WRITE_GOLDEN" in os.environ:
        keep(SEGMENTER_GOLDEN, GOLDENS)


def is_unused(key: str) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in UNUSED[AUTHORS])


@torch.no_grad()
def expected(config: DenseConfig, weights: dict[str, np.ndarray], sides: tuple[int, int]) -> np.ndarray:
    theirs = segmenter_checkout.model(config).eval()
    missing, unexpected = theirs.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    assert not unexpected
    assert [key for key in missing if not is_unused(key)] == []
    image = torch.from_numpy(photos(sides).transpose(0, 3, 1, 2).copy())
    return theirs(image).numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", CASES)
def test_logits(name, agrees):
    config, sides = small(name)
    model, weights = segmenter(config)
    their = expected(config, weights, sides)
    agrees(f"Segmenter {name}", outputs(model, photos(sides))[0], their)
    GOLDENS[name] = sampled(their)


@pytest.mark.parametrize("name", ["linear", "distilled"])
def test_photos_of_another_size(name, agrees):
    """Their table of positions is resized when a photo comes."""
    config, sides = small(name)[0], (48, 80)
    assert config.image_size == SQUARE
    their = expected(config, segmenter(config)[1], sides)
    agrees(f"Segmenter {name}, another size", outputs(resized(config, sides), photos(sides))[0], their)
    GOLDENS[f"{name} resized"] = sampled(their)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("name", ["t16", "s16", "b16", "b8", "l16", "deit_b16"])
def test_counts(name, linear, monkeypatch):
    """Of the published sizes, the unused classifiers apart."""
    config = getattr(DenseConfig, f"segmenter_{name}")(linear=linear)
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))  # its items are read
    with torch.device("meta"):
        theirs = segmenter_checkout.model(config)
    used = sum(value.numel() for key, value in theirs.named_parameters() if not is_unused(key))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract_model(config.make)[1])) == used
