"""Details: the stem's finer maps reach the masks, and a model begins as the one without them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.micro import micro_model

from samjax.core.errors import UserError
from samjax.core.prompts import Prompts, point_slots
from samjax.interop.formats.portable import decoder
from samjax.models.sam.details import embedding_channels, split_details
from samjax.models.sam.mask_decoder import Upscaler
from samjax.models.sam.pixel_order import rows_of_cells
from samjax.models.sam.sam import Sam
from samjax.models.vit.vit import Stem
from samjax.tasks.embedding_filling import open_cache


def config(**changes):
    encoder = dataclasses.replace(micro_model().image_encoder, stem=Stem.CONVOLUTIONS)
    return dataclasses.replace(micro_model(), image_encoder=encoder, **changes)


def model(**changes) -> Sam:
    return Sam(config(**changes), rngs=nnx.Rngs(0))


def masks_of(model: Sam):
    """Of three points on each of two photos, one of them smaller than the frame."""
    draw = np.random.default_rng(0)
    images = jnp.asarray(draw.integers(0, 256, (2, 64, 64, 3), np.uint8))
    points = jnp.asarray(draw.uniform(4, 44, (2, 3, 1, 2)), jnp.float32)
    coords, labels = point_slots(points, jnp.ones(points.shape[:3], jnp.int32))
    prompts = Prompts.without_masks(coords=coords, labels=labels, logits_size=config().logits_size)
    return model.decode(model.encode(images, jnp.array([[64, 64], [48, 64]])), prompts)


def moved(model: Sam, **kernels: float) -> Sam:
    """Return the model with the kernels of its details drawn at random."""
    for name, scale in kernels.items():
        kernel = getattr(model.image_encoder.details, name).kernel
        kernel[...] = scale * jax.random.normal(jax.random.key(len(name)), kernel.shape)
    return model


@pytest.mark.slow
def test_a_model_with_details_begins_as_the_one_without():
    """With the same weights in all else: the details' kernels are zeros."""
    plain, detailed = model(), model(details=True)
    _, state, rest = nnx.split(detailed, nnx.Param, ...)
    params = nnx.to_pure_dict(state)
    del params["image_encoder"]["details"]
    nnx.update(plain, nnx.State(params), rest)
    expected, found = masks_of(plain), masks_of(detailed)
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.iou, expected.iou)


@pytest.mark.parametrize("name", ["coarse", "fine"])
def test_each_map_reaches_the_masks_and_nothing_else(name):
    before, after = masks_of(model(details=True)), masks_of(moved(model(details=True), **{name: 1.0}))
    assert float(jnp.abs(after.logits - before.logits).max()) > 1e-3
    np.testing.assert_array_equal(after.iou, before.iou)


@pytest.mark.parametrize("part", ["coarse", "fine"])
def test_a_pixels_details_are_those_of_its_place(part):
    """Laid out in rows as the masks are, they are the stem's map through a 1 x 1 convolution."""
    encoder = moved(model(details=True), coarse=1.0, fine=1.0).image_encoder
    image = jax.random.normal(jax.random.key(3), (2, 64, 64, 3))
    maps = encoder.patch_embed.with_maps(image)[1]
    cells = encoder.details(maps).reshape(2, 16, -1)
    _, details = split_details(jnp.concatenate([jnp.zeros((2, 16, 32)), cells], axis=-1), 32)
    assert details is not None
    found = jnp.moveaxis(getattr(details, part)[:, 0], -1, 1)  # [b, channels, cells, y, x, ...]
    expected = np.moveaxis(np.asarray(getattr(encoder.details, part)(maps[-2 if part == "coarse" else -3])), -1, 1)
    if part == "coarse":  # each of its pixels is four of the masks' pixels
        found = jnp.broadcast_to(found[..., None, None], (*found.shape, 2, 2))
        expected = expected.repeat(2, axis=-2).repeat(2, axis=-1)
    np.testing.assert_array_equal(rows_of_cells(found, (4, 4)), expected)


def test_the_upscaler_adds_details_before_norm_and_activation():
    upscaler = Upscaler(16, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0))
    cells = jax.random.normal(jax.random.key(0), (1, 2, 3, 16))
    packed = jax.random.normal(jax.random.key(1), (1, 3, embedding_channels(16) - 16))
    _, details = split_details(jnp.concatenate([jnp.zeros((1, 3, 16)), packed], axis=-1), 16)
    assert details is not None
    coarse = jax.nn.gelu(upscaler.norm(upscaler.conv1(cells) + details.coarse), approximate=False)
    expected = jax.nn.gelu(upscaler.conv2(coarse) + details.fine, approximate=False)
    np.testing.assert_allclose(upscaler(cells, details), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("details", [False, True])
def test_the_shape_of_an_embedding_is_that_of_caches_and_of_exported_decoders(details):
    whole = model(details=details)
    frames, sizes = jax.ShapeDtypeStruct((3, 64, 64, 3), jnp.uint8), jax.ShapeDtypeStruct((3, 2), jnp.int32)
    shape = jax.eval_shape(whole.encode, frames, sizes).shape[1:]
    assert shape == config(details=details).embedding_shape
    assert open_cache("folder", config(details=details)).shape == shape
    _, params, buffers = nnx.split(whole, nnx.Param, ...)
    half = decoder(nnx.to_pure_dict(params), nnx.to_pure_dict(buffers), config(details=details))
    assert half.inputs["embedding"].shape[1:] == shape


@pytest.mark.parametrize("changes", [{"stem": Stem.PATCHES}, {"patch": 4}])
def test_without_maps_there_are_no_details(changes):
    encoder = dataclasses.replace(config().image_encoder, **changes)
    with pytest.raises(UserError, match=r"model\.details needs a stem"):
        dataclasses.replace(config(), image_encoder=encoder, details=True)
