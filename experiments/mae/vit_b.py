"""MAE ViT-B/16 on ImageNet-1K, the paper's settings; photos, length and schedule are those of `vit_l.py`.

    samjax train experiments/mae/vit_b.py --data.source imagenet_records --workdir runs/mae_vit_b

The encoder has 85.6 million parameters, the decoder 26.0 million. What comes out starts SAM's image encoder:

    samjax train experiments/sam/vit_b.py --data.source sa1b_records --init-from runs/mae_vit_b
"""

from dataclasses import replace

from experiments.mae import vit_l
from samjax.models.mae import MaeConfig
from samjax.tasks.masked_images import MaskedImageTraining


def config() -> MaskedImageTraining:
    return replace(vit_l.config(), model=MaeConfig.vit_b())
