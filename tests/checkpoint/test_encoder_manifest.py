"""A manifest changes with whatever changes an embedding, and with nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.micro import drawn_micro, micro_model

from samjax.checkpoint.encoder_manifest import describe_encoder, weights_digest
from samjax.core.tree import map_with_names
from samjax.nn.pixels import PixelStatistics
from samjax.nn.stack import Remat


@pytest.fixture(scope="module")
def arrays():
    """The micro model's parameters and buffers, on the host."""
    _, params, buffers = nnx.split(drawn_micro(), nnx.Param, ...)
    return jax.device_get((nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)))


def changed(params, name):
    """Return parameters with another value in the array of that name, which is there."""
    seen = []

    def change(path, leaf):
        if path != name:
            return leaf
        seen.append(path)
        other = np.array(leaf)
        other.flat[0] += 1
        return other

    found = map_with_names(change, params)
    assert seen
    return found


def test_where_the_arrays_are_does_not_matter(arrays):
    on_devices = jax.tree.map(jnp.asarray, arrays)
    assert describe_encoder(micro_model(), *on_devices) == describe_encoder(micro_model(), *arrays)


def test_a_weight_of_the_encoder_matters_and_one_of_the_decoder_does_not(arrays):
    params, buffers = arrays
    before, whole = describe_encoder(micro_model(), params, buffers), weights_digest(params, buffers)
    for name, matters in (("image_encoder/neck/norm1/scale", True), ("mask_decoder/iou_token", False)):
        other = changed(params, name)
        assert (describe_encoder(micro_model(), other, buffers) != before) is matters
        assert weights_digest(other, buffers) != whole


@pytest.mark.parametrize(
    ("changes", "matters"),
    [
        ({"image_size": (64, 96)}, True),
        ({"dtype": "bfloat16"}, True),
        ({"pixel_statistics": PixelStatistics.PHOTO}, True),
        ({"image_encoder": {"window": 2}}, True),
        ({"image_encoder": {"drop_path": 0.3}}, False),
        ({"image_encoder": {"remat": Remat.FULL}}, False),
        ({"mask_decoder": {"dropout": 0.5}}, False),
    ],
)
def test_of_the_config_what_changes_an_embedding_matters(arrays, changes, matters):
    model = micro_model()
    parts = {
        name: dataclasses.replace(getattr(model, name), **value) if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    other = describe_encoder(dataclasses.replace(model, **parts), *arrays)
    assert (other != describe_encoder(model, *arrays)) is matters
