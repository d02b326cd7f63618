"""Families of models: told apart by their keys, and known to nobody but their own tables and formats."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.foreign import MICRO, as_large_as, vit

import samjax.interop
from samjax.core.errors import UserError
from samjax.interop.families import FAMILIES
from samjax.interop.read_weights import recognise
from samjax.interop.tables.imagenet_vit_rows import TIMM
from samjax.interop.tables.sam import SAM
from samjax.interop.tables.sam_rows import VIT
from samjax.models.vit.vit import Stem
from samjax.nn.pixels import PixelStatistics


def test_families_have_names_of_their_own():
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_sign_is_a_row_of_its_naming(family):
    for naming in family.namings:
        paths = {row.path for row in family.rows(family.sample) if row.keys(naming)}
        assert set(naming.signs) <= paths
        assert naming.signs


@pytest.mark.parametrize("naming", SAM.namings, ids=lambda naming: naming.name)
def test_a_segment_anything_is_recognised(naming):
    found = recognise(as_large_as(MICRO, naming), name="x")
    assert (found.family, found.naming) == (SAM, naming)


@pytest.mark.parametrize("naming", SAM.namings[:2], ids=lambda naming: naming.name)
def test_a_layout_that_cannot_hold_a_model_says_what_it_lacks(naming):
    """No other codebase has a convolutional stem: nothing is written of such a model but by formats that hold any."""
    encoder = dataclasses.replace(MICRO.image_encoder, stem=Stem.CONVOLUTIONS)
    config = dataclasses.replace(MICRO, image_encoder=encoder)
    lacking = "image_encoder/patch_embed/bias, image_encoder/patch_embed/kernel"
    with pytest.raises(UserError, match=rf"{naming.title} cannot hold this model, which has no {lacking}: .*stablehlo"):
        SAM.to_torch({}, {}, config, naming)


@pytest.mark.parametrize("naming", SAM.namings[:2], ids=lambda naming: naming.name)
def test_a_layout_that_cannot_say_how_pixels_are_normalised_refuses_the_model(naming):
    """Its arrays would load elsewhere without a word, and see other photos than it was trained on."""
    config = dataclasses.replace(MICRO, pixel_statistics=PixelStatistics.PHOTO)
    with pytest.raises(
        UserError, match=rf"{naming.title} cannot hold this model, which normalises each photo with its"
    ):
        SAM.to_torch({}, {}, config, naming)


def test_a_plain_vit_with_trained_positions_is_the_start_of_an_image_encoder():
    assert recognise(vit(), name="x").family is SAM


def test_a_vit_of_imagenet_is_a_backbone():
    """With a class token and a last norm; not one that reconstructed photos, nor ViTDet's with relative positions."""
    of_imagenet = {key: array for key, array in vit().items() if not key.startswith(("mask_token", "decoder_"))}
    assert recognise(of_imagenet, name="x").naming is TIMM
    of_vitdet = {**of_imagenet, "blocks.0.attn.rel_pos_h": np.zeros((7, 64), np.float32)}
    assert recognise(of_vitdet, name="x").naming is VIT
    for key in ("cls_token", "norm.weight"):
        lacking = {name: array for name, array in of_imagenet.items() if name != key}
        assert recognise(lacking, name="x").naming is VIT


def test_keys_of_no_family_are_told_with_those_that_are_known():
    with pytest.raises(UserError) as error:
        recognise({key: np.zeros(1) for key in ("stem.0", "head", "body.1", "body.0")}, name="weights.pth")
    message = str(error.value)
    assert message.startswith("weights.pth is of another architecture: its keys, such as body.0, body.1, head, are not")
    for family in FAMILIES:
        assert family.name in message
        assert all(naming.title in message for naming in family.namings)


def test_machinery_names_no_family():
    """Tables and formats alone import models, and the two lists of them alone import these."""
    folder = Path(samjax.interop.__file__).parent
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert "samjax.models" not in text, path
        if path.name not in ("families.py", "write_weights.py"):
            assert not re.search(r"interop\.(tables|formats\.(?!writer|onnx\.model))", text), path
