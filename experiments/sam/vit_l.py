"""SAM ViT-L on SA-1B, the paper's settings: 312,342,832 parameters, 128 photos a step, 180,000 steps.

Data, several hosts and the start from random weights: see `vit_h.py`.

    samjax train experiments/sam/vit_l.py --data.source sa1b_records --workdir runs/vit_l

Half of ViT-H's photos a step for twice its steps. Parameters and optimiser moments are 3.7 GB, split over 16 devices.
"""

from dataclasses import replace

from experiments.sam import vit_h
from samjax.models.sam.sam import SamConfig
from samjax.optim.schedule import DropsConfig
from samjax.tasks.promptable import PromptableTraining

# The paper gives milestones for ViT-H alone: the same shares of a run twice as long.
SCHEDULE = DropsConfig(peak_lr=4e-4, warmup_steps=250, milestones=(120_000, 173_332))


def config() -> PromptableTraining:
    base = vit_h.config()
    h = base.model.image_encoder
    encoder = replace(SamConfig.vit_l().image_encoder, drop_path=h.drop_path, remat=h.remat)
    return replace(
        base,
        model=replace(base.model, image_encoder=encoder),
        optim=replace(base.optim, schedule=SCHEDULE),
        steps=180_000,
        batch_size=128,
    )
