"""Ten updates of SGD with momentum and weight decay against `torch.optim.SGD`, float32."""

import jax
import numpy as np
import optax
import torch

from samjax.optim.build import OptimConfig, Optimizer, make_optimizer
from samjax.optim.schedule import PolynomialConfig

STEPS = 10
CONFIG = OptimConfig(
    optimizer=Optimizer.SGD,
    schedule=PolynomialConfig(peak_lr=0.1, warmup_steps=0, power=0.9, end_lr=1e-4),
    momentum=0.9,
    weight_decay=0.02,
    layer_decay=1.0,
    clip_norm=0.0,
    rates=("head/**=10",),
)


def test_ten_steps(agrees):
    draw = np.random.default_rng(0)
    start = {
        "encoder": {"kernel": draw.normal(size=(4, 3)).astype(np.float32)},
        "head": {"kernel": draw.normal(size=(3, 2)).astype(np.float32), "bias": np.zeros(2, np.float32)},
    }
    gradients = [
        jax.tree.map(lambda leaf: draw.normal(size=leaf.shape).astype(np.float32), start) for _ in range(STEPS)
    ]
    theirs = jax.tree.map(lambda leaf: torch.nn.Parameter(torch.tensor(leaf)), start)
    groups = [
        {"params": [theirs["encoder"]["kernel"]], "scale": 1.0, "weight_decay": 0.02},
        {"params": [theirs["head"]["kernel"]], "scale": 10.0, "weight_decay": 0.02},
        {"params": [theirs["head"]["bias"]], "scale": 10.0, "weight_decay": 0.0},
    ]
    their_optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9)
    optimizer, ours = make_optimizer(CONFIG, (), steps=STEPS), start
    state = optimizer.init(ours)
    for step, gradient in enumerate(gradients):
        updates, state = optimizer.update(gradient, state, ours)
        ours = optax.apply_updates(ours, updates)
        for group in their_optimizer.param_groups:
            group["lr"] = group["scale"] * ((0.1 - 1e-4) * (1 - step / STEPS) ** 0.9 + 1e-4)
        jax.tree.map(lambda leaf, slope: setattr(leaf, "grad", torch.tensor(slope)), theirs, gradient)
        their_optimizer.step()
    for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        agrees("parameters after ten SGD steps", found, expected.detach().numpy())
