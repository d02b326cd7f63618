"""HRFormer's published models: parameters, and what is particular to their training."""

import math

import pytest

from samjax.core.tree import named_leaves
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.structure import abstract_model

COUNTS = {
    "S": (DenseConfig.hrformer_s, 150, 13_658_262),
    "S, Cityscapes": (DenseConfig.hrformer_s, 19, 13_523_856),
    "B": (DenseConfig.hrformer_b, 150, 56_166_918),
    "B, Cityscapes": (DenseConfig.hrformer_b, 19, 56_032_512),
    "B, window 13": (DenseConfig.hrformer_b_window13, 150, 56_166_918 + 44_151_930 - 44_040_666),
    "B, window 15": (DenseConfig.hrformer_b_window15, 150, 56_166_918 + 44_204_634 - 44_040_666),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_published_sizes_have_the_published_parameters(name):
    """Of the authors' networks; those with wider windows have larger tables of offsets besides."""
    make, classes, expected = COUNTS[name]
    _, params, _ = abstract_model(make(classes=classes).make)
    assert sum(math.prod(leaf.shape) for leaf in named_leaves(params).values()) == expected


def test_logits_are_enlarged_with_aligned_corners():
    assert DenseConfig.hrformer_s().head.ALIGN_CORNERS
    assert DenseConfig.hrformer_s(image_size=(512, 1024)).image_size == (512, 1024)
