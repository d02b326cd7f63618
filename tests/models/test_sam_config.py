"""A config of SAM: sizes that do not fit are refused, what is stored stays readable, and its layers are numbered."""

import dataclasses
import json

import numpy as np
import pytest
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.json_config import from_json, to_json
from samjax.core.tree import named_leaves
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.nn.structure import abstract_model
from samjax.optim.layer_decay import layer_ids


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


OF_BEFORE = """{"image_size": [128, 64], "embedding": 128, "mask_prompt_channels": 16,
"image_encoder": {"patch": 16, "width": 96, "depth": 4, "heads": 3, "mlp_ratio": 4, "window": 5, "global_every": 2,
"drop_path": 0.0, "remat": "none", "attention": "auto"},
"mask_decoder": {"depth": 2, "heads": 4, "hidden": 128, "dropout": 0.0}, "dtype": "float32"}"""


def test_a_config_is_stored_as_it_always_was():
    """Checkpoints hold it: a field that is renamed, or required and new, loses them."""
    config = SamConfig.tiny(image_size=(128, 64))
    assert from_json(SamConfig, json.loads(OF_BEFORE)) == config
    stored = json.loads(to_json(config))
    newer = (stored["mask_decoder"].pop("image_cells"), stored["image_encoder"].pop("stem"))
    assert newer == ("auto", "patches")
    newer = {name: stored.pop(name) for name in ("details", "position_scale", "pixel_statistics")}
    assert newer == {"details": False, "position_scale": 1.0, "pixel_statistics": "imagenet"}
    assert stored == json.loads(OF_BEFORE)


@pytest.mark.parametrize("config", [SamConfig.tiny(), SamConfig.vit_b()], ids=["tiny", "vit_b"])
def test_layers_are_those_of_the_optimiser(config):
    """Block i is layer i + 1, what comes before the blocks 0, and the rest the last layer."""
    params = nnx.to_pure_dict(abstract_model(config.make)[1])
    encoder = config.image_encoder
    blocks = np.arange(encoder.depth).reshape(-1, encoder.global_every)

    def expected(name: str) -> np.ndarray:
        if "/groups/" in name:
            return 1 + (blocks[:, :-1] if "/windowed/" in name else blocks[:, -1])
        is_first = name.startswith(("image_encoder/patch_embed", "image_encoder/position"))
        return np.asarray(0 if is_first else encoder.depth + 1)

    ids = named_leaves(layer_ids(config.layer_ids(), params))
    for name, parameter in named_leaves(params).items():
        hand = expected(name)
        hand = hand.reshape(*hand.shape, *(1,) * (parameter.ndim - hand.ndim))
        np.testing.assert_array_equal(
            np.broadcast_to(ids[name], parameter.shape), np.broadcast_to(hand, parameter.shape), err_msg=name
        )
