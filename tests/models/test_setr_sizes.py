"""Published counts of SETR and Segmenter, and what else their sizes say."""

import math

import jax
import pytest

from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.pixels import PixelStatistics
from samjax.nn.structure import abstract_model

CITYSCAPES = {"image_size": (768, 768), "classes": 19}
UNUSED_TOKEN = 2 * 1024
"""SETR's published MLA models hold a class token and its position, on which nothing depends."""
COUNTS = {
    "naive": (DenseConfig.setr_naive(auxiliary=False), 304_450_966),
    "naive-cityscapes": (DenseConfig.setr_naive(auxiliary=False, **CITYSCAPES), 305_728_019),
    "naive-mmsegmentation": (DenseConfig.setr_naive(mmsegmentation=True), 305_557_592),
    "naive-base": (DenseConfig.setr_naive_base(auxiliary=False), 86_670_486),
    "pup": (DenseConfig.setr_pup(auxiliary=False), 308_319_894),
    "pup-cityscapes": (DenseConfig.setr_pup(auxiliary=False, **CITYSCAPES), 309_596_947),
    "pup-mmsegmentation": (DenseConfig.setr_pup(mmsegmentation=True), 317_290_072),
    "mla": (DenseConfig.setr_mla(auxiliary=False), 310_030_486 - UNUSED_TOKEN),
    "mla-cityscapes": (DenseConfig.setr_mla(auxiliary=False, **CITYSCAPES), 310_737_427 - UNUSED_TOKEN),
    "mla-mmsegmentation": (DenseConfig.setr_mla(mmsegmentation=True), 309_569_262 - UNUSED_TOKEN),
    "segmenter-t16": (DenseConfig.segmenter_t16(), 6_713_388),
    "segmenter-t16-linear": (DenseConfig.segmenter_t16(linear=True), 5_712_342),
    "segmenter-s16": (DenseConfig.segmenter_s16(), 26_033_964),
    "segmenter-s16-linear": (DenseConfig.segmenter_s16(linear=True), 22_041_366),
    "segmenter-b16": (DenseConfig.segmenter_b16(), 102_497_580),
    "segmenter-b16-linear": (DenseConfig.segmenter_b16(linear=True), 86_549_910),
    "segmenter-b8": (DenseConfig.segmenter_b8(), 104_414_508),
    "segmenter-b8-linear": (DenseConfig.segmenter_b8(linear=True), 88_466_838),
    "segmenter-l16": (DenseConfig.segmenter_l16(), 333_234_476),
    "segmenter-l16-linear": (DenseConfig.segmenter_l16(linear=True), 304_893_078),
    "segmenter-deit": (DenseConfig.segmenter_deit_b16(), 102_499_116),
    "segmenter-deit-linear": (DenseConfig.segmenter_deit_b16(linear=True), 86_551_446),
}
BY_DEFAULT = {"mla", "segmenter-l16"}


@pytest.mark.parametrize(
    "name", [name if name in BY_DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in COUNTS]
)
def test_published_counts(name):
    """Parameters, statistics of batch norms not counted; mmsegmentation's with auxiliary heads, of ADE20K's models."""
    config, expected = COUNTS[name]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract_model(config.make)[1])) == expected


def test_auxiliary_heads_need_no_blocks():
    """A model without them takes maps of the last block alone, but for MLA, whose logits are of four."""
    assert DenseConfig.setr_naive(auxiliary=False).encoder.channels == (1024,)
    assert DenseConfig.setr_pup(auxiliary=False).encoder.channels == (1024,)
    assert DenseConfig.setr_naive_base(auxiliary=False).encoder.channels == (768,)
    assert DenseConfig.setr_mla(auxiliary=False).encoder.channels == (1024,) * 4


def test_the_two_published_versions_differ_as_their_code_does():
    """Trap E1, (a) to (f): the authors' and mmsegmentation's."""
    for name in ("naive", "pup", "mla"):
        authors, other = (getattr(DenseConfig, f"setr_{name}")(mmsegmentation=one) for one in (False, True))
        assert (authors.encoder.patch_bias, other.encoder.patch_bias) == (True, False)
        if name == "mla":
            details = [(one.head.deepest_first, one.head.align_corners, one.head.kernel) for one in (authors, other)]
            assert details == [(False, True, 3), (True, False, 1)]
            assert authors.encoder.taps == other.encoder.taps == (5, 11, 17)
        else:
            assert (authors.head.use_bias, other.head.use_bias) == (True, False)
            assert authors.encoder.taps == ((9, 14, 19, 23) if name == "pup" else (9, 14, 19))
            assert other.encoder.taps == (9, 14, 19)


def test_photos_have_the_statistics_of_the_weights():
    assert DenseConfig.setr_mla().pixel_statistics is PixelStatistics.IMAGENET
    assert DenseConfig.segmenter_b16().pixel_statistics is PixelStatistics.HALF
    assert DenseConfig.segmenter_deit_b16().pixel_statistics is PixelStatistics.IMAGENET


def test_frames():
    assert DenseConfig.segmenter_l16().image_size == (640, 640)
    assert DenseConfig.segmenter_l16(image_size=(768, 768)).image_size == (768, 768)
    assert {config.image_size for name, (config, _) in COUNTS.items() if "l16" not in name} == {(512, 512), (768, 768)}
