"""HRFormer and its OCR head give what the authors' code gives, which tests/parity/test_hrformer_authors.py wrote."""

import numpy as np
import pytest
from helpers.hrformer_cases import GOLDEN, SIDES, STATISTICS, backbone, maps, ocr_head, outputs, photos

from samjax.core.tree import named_leaves

MODES = ("training", "evaluation")
BY_DEFAULT = ("odd", "training")
"""It has all there is: windows padded on both sides, maps enlarged past their size, statistics."""
SLOW = ("square", "evaluation")
"""Of the slow run; the other four are by hand."""


def marks_of(case: tuple[str, str]) -> list:
    """Return what a case is marked with."""
    if case == BY_DEFAULT:
        return []
    return [pytest.mark.slow] if case == SLOW else [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def assert_agrees(ours, reference):
    """To 1e-5 of the largest value; what PyTorch measures is in tests/parity."""
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-5 * np.abs(reference).max())


@pytest.mark.parametrize(
    ("name", "mode"),
    [pytest.param(name, mode, marks=marks_of((name, mode))) for name in SIDES for mode in MODES],
)
def test_maps(golden, name, mode):
    found, after = outputs(backbone()[0], photos(SIDES[name]), training=mode == "training")
    for level, one in enumerate(found):
        assert_agrees(one[:1], golden[f"{name}/{mode}/{level}"])
    if mode == "training":
        after = named_leaves(after)
        for key, path in STATISTICS.items():
            assert_agrees(after[path], golden[f"{name}/{mode}/{key}"])


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=() if mode == "training" else pytest.mark.slow) for mode in MODES]
)
def test_logits(golden, mode):
    """A softmax over the classes where the pixels' belongs, or over all in place of one, is far off."""
    found, _ = outputs(ocr_head()[0], maps(), training=mode == "training")
    assert_agrees(found.auxiliary[0][:1], golden[f"ocr/{mode}/auxiliary"])
    assert_agrees(found.logits[:1], golden[f"ocr/{mode}/logits"])
