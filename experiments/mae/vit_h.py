"""MAE ViT-H/14 on ImageNet-1K, the paper's settings; photos, length and schedule are those of `vit_l.py`.

    samjax train experiments/mae/vit_h.py --data.source imagenet_records --workdir runs/mae_vit_h

The encoder has 630.4 million parameters, the decoder 26.2 million. What comes out starts SAM's image encoder:

    samjax train experiments/sam/vit_h.py --data.source sa1b_records --init-from runs/mae_vit_h
"""

from dataclasses import replace

from experiments.mae import vit_l
from samjax.models.mae import MaeConfig
from samjax.tasks.masked_images import MaskedImageTraining


def config() -> MaskedImageTraining:
    return replace(vit_l.config(), model=MaeConfig.vit_h())
