"""Ten updates by the recipe's optimiser against `torch.optim.AdamW` with a parameter group a layer."""

import re

import jax
import numpy as np
import optax
import torch
from agreement import norm_error
from reference import SMALL, random_case, reference
from replay import IMAGES, MASKS, Scene, replay
from test_gradients import one_round, weights

from samjax.interop.tables.sam import SAM
from samjax.optim.build import OptimConfig, make_optimizer
from samjax.optim.schedule import DropsConfig

# An epsilon above the gradients' rounding: with Adam's usual 1e-8, noise where there is no gradient makes full steps.
CONFIG = OptimConfig(schedule=DropsConfig(peak_lr=4e-3, warmup_steps=4, milestones=(8,)), layer_decay=0.8, epsilon=1e-5)
RATES = [1e-3, 2e-3, 3e-3, *[4e-3] * 5, *[4e-4] * 2]  # of CONFIG.schedule, by hand
GAUSSIAN = "shared_image_embedding.positional_embedding"


def layer_of(key: str) -> int:
    block = re.match(r"vision_encoder\.layers\.(\d+)\.", key)
    if block:
        return int(block[1]) + 1
    return 0 if key.startswith(("vision_encoder.patch_embed", "vision_encoder.pos_embed")) else 7


def is_decayed(key: str) -> bool:
    return not (key.endswith("bias") or "norm" in key or "rel_pos" in key or "pos_embed" in key)


def their_optimizer(model) -> torch.optim.AdamW:
    groups = [
        {"params": [parameter], "scale": 0.8 ** (7 - layer_of(key)), "weight_decay": 0.1 if is_decayed(key) else 0.0}
        for key, parameter in model.named_parameters()
        if key != GAUSSIAN
    ]
    return torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999), eps=1e-5)


def matters(key: str, array: np.ndarray) -> np.ndarray:
    """Return which elements have a gradient: a bias of the keys has none but rounding, which Adam makes its own."""
    if key.endswith("k_proj.bias"):
        return np.zeros(array.shape, bool)
    if key.endswith("qkv.bias"):
        return np.repeat([True, False, True], array.size // 3)
    return np.ones(array.shape, bool)


def test_ten_steps(agrees):
    theirs, scene, case = reference(SMALL, seed=1), Scene.draw(), random_case(SMALL, "point", IMAGES, MASKS)
    start = {key: parameter.detach().numpy().copy() for key, parameter in theirs.named_parameters()}
    params, buffers = weights(theirs)
    objective = one_round(scene, case.prompts(SMALL, IMAGES, MASKS))
    optimizer = make_optimizer(CONFIG, SMALL.layer_ids(), steps=len(RATES))
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    torch_optimizer = their_optimizer(theirs)
    trained = [parameter for key, parameter in theirs.named_parameters() if key != GAUSSIAN]
    for rate in RATES:
        loss, gradient = objective(params, buffers)
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)

        torch_optimizer.zero_grad()
        expected = replay(theirs, scene, lambda i, m, _: case.of(i, m), rounds=1)
        expected.backward()
        for parameter in trained:  # no gradient is a gradient of zero: PyTorch would not decay it
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in torch_optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        torch_optimizer.step()
        agrees("loss, ten AdamW steps", loss, expected.detach(), 1e-4)
    ours = SAM.to_torch(params, buffers, SMALL)
    for key, parameter in theirs.named_parameters():
        if key != GAUSSIAN:
            some = matters(key, start[key])
            before, after = start[key][some], parameter.detach().numpy()[some]
            if np.array_equal(before, after):
                np.testing.assert_array_equal(ours[key][some], before, key)
            else:
                agrees("way of ten AdamW steps", ours[key][some] - before, after - before, 1e-4, measure=norm_error)
