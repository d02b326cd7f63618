"""The prompt encoder against PyTorch, for every kind of prompt."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from reference import SMALL, WIDE, embed, image_positions, ours, random_case, reference, to_numpy

run_prompt_encoder = jax.jit(lambda model, prompts: model.prompt_encoder(prompts))

KINDS = ["none", "point", "points", "box", "box+point", "box+points", "mask", "mask+points", "mask+box+points"]


@pytest.fixture(scope="module", params=[SMALL, WIDE], ids=["square", "wide"])
def pair(request):
    model = reference(request.param)
    return request.param, model, ours(model, request.param)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_prompt_kind(pair, kind, agrees):
    config, theirs, model = pair
    case = random_case(config, kind, images=2, masks=3)
    sparse, dense = embed(theirs, case, config)
    embedding = run_prompt_encoder(model, case.prompts(config, 2, 3))
    if sparse is None:
        assert embedding.sparse.shape == (2, 3, 0, config.embedding)
    else:
        agrees("prompt tokens", embedding.sparse, sparse)
    theirs_dense = np.broadcast_to(
        to_numpy(dense, channels_last=True), (dense.shape[0], *config.grid, config.embedding)
    )
    if case.logits is None:
        theirs_dense = np.broadcast_to(theirs_dense[:1], (6, *theirs_dense.shape[1:]))
    agrees("mask prompt", embedding.dense.map().reshape(6, *config.grid, -1), theirs_dense)


@torch.no_grad()
def test_image_positions(pair, agrees):
    config, theirs, model = pair
    agrees(
        "image positions",
        model.prompt_encoder.dense_positions(),
        to_numpy(image_positions(theirs, config), channels_last=True)[0],
    )


def test_mask_prompts_mix_with_no_mask(pair):
    """`has_mask` is by object; what lies in `mask_logits` where it is False is not read."""
    config, _, model = pair
    prompts = random_case(config, "mask+points", images=2, masks=3).prompts(config, 2, 3)
    has_mask = jnp.array([[True, False, True], [False, True, False]])
    mixed = model.prompt_encoder(dataclasses.replace(prompts, has_mask=has_mask)).dense.map()
    every = model.prompt_encoder(prompts).dense.map()
    none = model.prompt_encoder(dataclasses.replace(prompts, has_mask=jnp.zeros_like(has_mask))).dense.map()
    np.testing.assert_array_equal(mixed, jnp.where(has_mask[..., None, None], every, none))
