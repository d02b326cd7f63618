"""A masked autoencoder for the encoder of `experiments/sam/small.py`, some ten minutes on two cores.

    samjax train experiments/mae/small.py --workdir runs/mae_small
    samjax train experiments/sam/small.py --init-from runs/mae_small

What it gains there over random weights: docs/mae.md.
"""

from dataclasses import replace

from experiments.mae import smoke
from samjax.models.mae import MaeConfig
from samjax.optim.schedule import CosineConfig
from samjax.tasks.masked_images import MaskedImageTraining
from samjax.training.config import CheckpointConfig


def config() -> MaskedImageTraining:
    base = smoke.config()
    return replace(
        base,
        model=MaeConfig.small(),
        optim=replace(base.optim, schedule=CosineConfig(peak_lr=1e-3, warmup_steps=100)),
        checkpoint=CheckpointConfig(every=1_000, keep=1),
        steps=1_500,
        batch_size=16,
    )
