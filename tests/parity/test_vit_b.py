"""The paper's ViT-B at its own resolution, whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from reference import channels_first, decode, ours, random_case, reference, to_numpy

from samjax.models.sam.sam import SamConfig

CONFIG = SamConfig.vit_b(dtype="float32")

# The one test that runs for longer than it compiles.
optimised = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})


@pytest.mark.slow
@torch.no_grad()
def test_vit_b_at_1024(agrees):
    theirs = reference(CONFIG)
    image = np.random.default_rng(1).normal(size=(1, 1024, 1024, 3)).astype(np.float32)
    case = random_case(CONFIG, "points", 1, 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    expected = theirs.vision_encoder(channels_first(image)).last_hidden_state
    logits, iou = decode(theirs, expected, case, CONFIG, multimask=True)
    torch.set_num_threads(threads)

    model = ours(theirs, CONFIG)
    del theirs
    embedding = optimised(lambda model, image: model.image_encoder(image))(model, image)
    agrees("ViT-B at 1024, image encoder", embedding, to_numpy(expected, channels_last=True), 1e-4)
    output = optimised(lambda model, embedding, prompts: model.decode(embedding, prompts).candidates())(
        model, embedding, case.prompts(CONFIG, 1, 3)
    )
    agrees("ViT-B at 1024, mask logits", output.logits, logits, 1e-4)
    agrees("ViT-B at 1024, predicted IoU", output.iou, jnp.asarray(iou), 1e-4)
