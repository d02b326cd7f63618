"""SAM ViT-B on SA-1B, the paper's settings: 93,735,472 parameters, 128 photos a step, 180,000 steps.

Data, several hosts and the start from random weights: see `vit_h.py`.

    samjax train experiments/sam/vit_b.py --data.source sa1b_records --workdir runs/vit_b

ViT-L's run with a higher learning rate and stronger drop path and layer decay. Parameters and optimiser moments are
1.1 GB, split over 16 devices.
"""

from dataclasses import replace

from experiments.sam import vit_l
from samjax.models.sam.sam import SamConfig
from samjax.tasks.promptable import PromptableTraining


def config() -> PromptableTraining:
    base = vit_l.config()
    encoder = replace(SamConfig.vit_b().image_encoder, drop_path=0.6, remat=base.model.image_encoder.remat)
    return replace(
        base,
        model=replace(base.model, image_encoder=encoder),
        optim=replace(base.optim, schedule=replace(base.optim.schedule, peak_lr=8e-4), layer_decay=0.6),
    )
