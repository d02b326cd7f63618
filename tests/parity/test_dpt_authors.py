"""DPT against its authors' own code, which also writes the goldens of the default run.

    SAMJAX_DPT_CHECKOUT=.../DPT SAMJAX_TIMM_CHECKOUT=.../packages pytest tests/parity/test_dpt_authors.py -m slow

With SAMJAX_WRITE_GOLDEN=1 beside them tests/golden/dpt.npz is written.
"""

import fnmatch
import functools
import math
import os

import jax
import numpy as np
import pytest
import torch
from dpt_checkout import VARIABLES, authors, authors_model, published_model
from helpers.dpt_cases import CASES, DPT_GOLDEN, SIDES, dpt, small
from helpers.golden_logits import keep, outputs, photos, sampled

from samjax.interop.tables.dpt_rows import AUTHORS, UNUSED
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.structure import abstract_model

GOLDENS: dict[str, np.ndarray] = {}
by_hand = [
    pytest.mark.slow,
    *(pytest.mark.skipif(name not in os.environ, reason=f"{name} names no checkout") for name in VARIABLES),
]


@pytest.fixture(scope="module")
def goldens():
    yield GOLDENS
    if "SAMJAX_WRITE_GOLDEN" in os.environ:
        keep(DPT_GOLDEN, GOLDENS)


def is_unused(key: str) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in UNUSED[AUTHORS])


@pytest.mark.parametrize("case", CASES)
class TestAuthors:
    pytestmark = by_hand

    def test_answers(self, case, goldens, agrees):
        """Of photos that are not square and of another size than the table, with every key of theirs in ours."""
        config = small(case)
        model, weights = dpt(config)
        image = photos(SIDES)
        with authors(), torch.no_grad():
            theirs = authors_model(config).eval()
            missing, unexpected = theirs.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
            assert not unexpected
            assert [key for key in missing if not is_unused(key)] == []
            expected = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2).copy())).numpy()
        expected = expected[..., None] if config.classes == 1 else expected.transpose(0, 2, 3, 1)
        assert (expected != 0).mean() > 0.5
        agrees(f"DPT's authors, {case}", outputs(model, image)[0], expected)
        goldens[case] = sampled(expected)

    def test_counts(self, case, monkeypatch):
        """Of the published sizes, unused parameters apart; and two epsilons."""
        monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))  # its items are read
        with authors(), torch.device("meta"):
            theirs = published_model(*case.split("_"))
        used = {key: value.numel() for key, value in theirs.named_parameters()}
        unused = {key for key in used if is_unused(key) and not key.startswith("auxlayer")}
        params = jax.tree.leaves(abstract_model(getattr(DenseConfig, f"dpt_{case}")().make)[1])
        assert sum(math.prod(leaf.shape) for leaf in params) == sum(used.values()) - sum(used[key] for key in unused)
        vit = theirs.pretrained.model
        assert vit.blocks[0].norm1.eps == 1e-6
        if case.startswith("hybrid"):
            assert vit.patch_embed.backbone.stages[0].blocks[0].conv1.eps == 1e-8


@pytest.mark.parametrize(
    "case", [case if case == "large_depth" else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_goldens(case, agrees):
    """The same answers, kept."""
    agrees(f"DPT's authors, {case}", sampled(outputs(dpt(small(case))[0], photos(SIDES))[0]), np.load(DPT_GOLDEN)[case])
