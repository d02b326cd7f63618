"""SETR and Segmenter against logits that their authors' code gave, see test_setr_authors and test_segmenter_authors."""

from dataclasses import replace

import numpy as np
import pytest
from agreement import relative_error
from helpers.golden_logits import outputs, photos, sampled
from helpers.segmenter_cases import CASES, SEGMENTER_GOLDEN, resized, segmenter
from helpers.segmenter_cases import small as small_segmenter
from helpers.setr_cases import PUBLISHED, SETR_GOLDEN, setr, small

from samjax.interop.tables.setr_rows import AUTHORS, MMSEGMENTATION

BY_DEFAULT = {(AUTHORS, "mla"), "mask"}


def cases(every):
    return [case if case in BY_DEFAULT else pytest.param(case, marks=pytest.mark.slow) for case in every]


@pytest.fixture(scope="module")
def golden():
    return {name: array for path in (SETR_GOLDEN, SEGMENTER_GOLDEN) for name, array in np.load(path).items()}


def logits_of(config, case) -> list[np.ndarray]:
    return [sampled(one) for one in outputs(setr(config, case[0])[0], photos(config.image_size))]


@pytest.mark.parametrize("case", cases(PUBLISHED), ids="-".join)
def test_setr(case, golden, agrees):
    """The published configs but for sizes: traps E1 (a) to (f) of its two published versions, and every layer."""
    found = logits_of(small(*case), case)
    expected = {name: array for name, array in golden.items() if name.startswith("/".join(case) + "/")}
    assert len(found) == len(expected)
    for index, one in enumerate(found):
        agrees(f"{' '.join(case)}, logits {index}", one, expected[f"{case[0]}/{case[1]}/{index}"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "part", "change"),
    [
        pytest.param((AUTHORS, "mla"), "head", {"deepest_first": True}, id="E1b"),
        pytest.param((MMSEGMENTATION, "mla"), "head", {"deepest_first": False}, id="E1b-mmsegmentation"),
        pytest.param((AUTHORS, "mla"), "head", {"align_corners": False}, id="E1c"),
        pytest.param((MMSEGMENTATION, "mla"), "head", {"align_corners": True}, id="E1c-mmsegmentation"),
        pytest.param((MMSEGMENTATION, "naive"), "head", {"factors": (1,)}, id="one-step"),
        pytest.param((AUTHORS, "naive"), "head", {"factors": (4,)}, id="two-steps"),
        pytest.param((AUTHORS, "pup"), "head", {"factors": (2, 2, 1, 2)}, id="other-steps"),
        pytest.param((AUTHORS, "pup"), "encoder", {"epsilon": 1e-5}, id="epsilon"),
    ],
)
def test_details_of_setr_show(case, part, change, golden):
    """A network that differs in one of them has the same arrays and other logits."""
    config = small(*case)
    wrong = replace(config, **{part: replace(getattr(config, part), **change)})
    assert relative_error(logits_of(wrong, case)[0], golden[f"{case[0]}/{case[1]}/0"]) > 1e-4


@pytest.mark.parametrize("name", cases(CASES))
def test_segmenter(name, golden, agrees):
    """Trap G1: the epsilon of every norm, and matrices that are no linear layers'."""
    config, sides = small_segmenter(name)
    agrees(f"Segmenter {name}", sampled(outputs(segmenter(config)[0], photos(sides))[0]), golden[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "distilled"])
def test_segmenter_of_another_size(name, golden, agrees):
    """Its table of positions is resized bilinearly, but for the rows of learned tokens."""
    sides = (48, 80)
    found = sampled(outputs(resized(small_segmenter(name)[0], sides), photos(sides))[0])
    agrees(f"Segmenter {name}, another size", found, golden[f"{name} resized"])


@pytest.mark.slow
@pytest.mark.parametrize("part", ["encoder", "head"])
def test_epsilons_of_segmenter_show(part, golden):
    """With timm's 1e-6 in either half."""
    config, sides = small_segmenter("mask")
    wrong = replace(config, **{part: replace(getattr(config, part), epsilon=1e-6)})
    assert relative_error(sampled(outputs(segmenter(wrong)[0], photos(sides))[0]), golden["mask"]) > 1e-4


@pytest.mark.slow
def test_projections_of_segmenter_show(golden):
    """A linear layer's weight is transposed in PyTorch; these two are not."""
    config, sides = small_segmenter("mask")
    model, _ = segmenter(config)
    for projection in (model.head.project_patches, model.head.project_classes):
        projection.kernel[...] = projection.kernel[...].T
    assert relative_error(sampled(outputs(model, photos(sides))[0]), golden["mask"]) > 1e-2
