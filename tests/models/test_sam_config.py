"""Sizes that do not fit together are refused in a sentence that says what would."""

import dataclasses

import pytest

from samjax.core.errors import UserError
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image_size": (1000, 1024)},
            r"\(1000, 1024\) is not a multiple of the patch, 16; use 992 instead of 1000",
        ),
        ({"embedding": 100}, "embedding is 100; .* multiple of 16"),
        ({"embedding": 12, "mask_decoder": MaskDecoderConfig(heads=2)}, "embedding is 12; .* multiple of 8"),
    ],
)
def test_bad_sizes(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SamConfig(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 770}, "model.image_encoder.width is 770; .* multiple of 16"),
        ({"depth": 30}, "model.image_encoder.depth is 30; .* multiple of 8"),
    ],
)
def test_bad_sizes_of_the_image_encoder(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(ImageEncoderConfig(), **change)


def test_sizes_follow_the_frame():
    config = SamConfig.vit_b(image_size=(512, 1024))
    assert config.grid == (32, 64)
    assert config.logits_size == (128, 256)
    assert SamConfig().logits_size == (256, 256)


def test_every_size_keeps_its_changes():
    for make in (SamConfig.vit_h, SamConfig.vit_l, SamConfig.vit_b, SamConfig.small, SamConfig.tiny):
        assert make(dtype="float32").dtype == "float32"
        assert make(image_size=(64, 128)).image_size == (64, 128)


@pytest.mark.parametrize(
    ("config", "blocks"),
    [
        (SamConfig.vit_b(), [2, 5, 8, 11]),
        (SamConfig.vit_l(), [5, 11, 17, 23]),
        (SamConfig.vit_h(), [7, 15, 23, 31]),
    ],
    ids=["vit_b", "vit_l", "vit_h"],
)
def test_global_blocks_are_the_papers(config, blocks):
    encoder = config.image_encoder
    assert list(range(encoder.global_every - 1, encoder.depth, encoder.global_every)) == blocks
