"""The image encoder against PyTorch, block by block."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from reference import SMALL, WIDE, channels_first, ours, reference, to_numpy

from samjax.models.sam.sam import SamConfig
from samjax.nn.stack import layer

EVEN = dataclasses.replace(SMALL, image_size=(80, 80))  # ten tokens a side: windows of five without padding


@pytest.fixture(scope="module", params=[SMALL, WIDE, EVEN], ids=["square", "wide", "no-padding"])
def pair(request):
    model = reference(request.param)
    return request.param, model, ours(model, request.param)


def photos(config: SamConfig, count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, *config.image_size, 3)).astype(np.float32)


run_block = jax.jit(lambda block, tokens: block(tokens, jnp.zeros(()), None))


def block(model, config: SamConfig, number: int):
    group, position = divmod(number, config.image_encoder.global_every)
    stacked = layer(model.image_encoder.groups, group)
    return stacked.full if position == config.image_encoder.global_every - 1 else layer(stacked.windowed, position)


@torch.no_grad()
def test_patch_embedding(pair, agrees):
    config, theirs, model = pair
    image = photos(config)
    agrees(
        "patch embedding",
        model.image_encoder.patch_embed(jnp.asarray(image)),
        theirs.vision_encoder.patch_embed(channels_first(image)),
    )


@torch.no_grad()
def test_every_block_on_its_own(pair, agrees):
    config, theirs, model = pair
    for number, their_block in enumerate(theirs.vision_encoder.layers):
        tokens = np.random.default_rng(number).normal(size=(2, *config.grid, config.image_encoder.width))
        tokens = tokens.astype(np.float32)
        kind = "global block" if their_block.window_size == 0 else "windowed block"
        agrees(
            kind,
            run_block(block(model, config, number), tokens),
            their_block(torch.as_tensor(tokens)),
        )


@pytest.mark.parametrize("grid", [(12, 12), (7, 13), (16, 9)])
@torch.no_grad()
def test_blocks_on_other_grids_than_their_tables(grid, agrees):
    """Position tables are resized, linearly and without antialiasing."""
    theirs = reference(SMALL)
    model = ours(theirs, SMALL)
    tokens = np.random.default_rng(2).normal(size=(2, *grid, SMALL.image_encoder.width)).astype(np.float32)
    for number in range(1, 3):
        agrees(
            "block, resized tables",
            run_block(block(model, SMALL, number), tokens),
            theirs.vision_encoder.layers[number](torch.as_tensor(tokens)),
        )


@torch.no_grad()
def test_depth_and_neck(pair, agrees):
    config, theirs, model = pair
    image = photos(config)
    outputs = theirs.vision_encoder(channels_first(image), output_hidden_states=True)
    agrees(
        "neck",
        model.image_encoder.neck(jnp.asarray(to_numpy(outputs.hidden_states[-1]))),
        to_numpy(theirs.vision_encoder.neck(outputs.hidden_states[-1]), channels_last=True),
    )
    agrees(
        "image encoder",
        jax.jit(lambda model, image: model.image_encoder(image))(model, image),
        to_numpy(outputs.last_hidden_state, channels_last=True),
    )
