"""MAE ViT-L/16 on ImageNet-1K, the paper's settings: 4,096 photos a step, 1,600 epochs.

Prepare the photos once, scaled down, since 18,500 of them are read each second on 128 TPU v3 cores:

    samjax data prepare --format photos --source 'imagenet/train' --shortest-side 320 --out imagenet_records
    samjax train experiments/mae/vit_l.py --data.source imagenet_records --workdir runs/mae_vit_l
    samjax plan experiments/mae/vit_l.py --topology v5e:8x8

The encoder has 303.1 million parameters, the decoder 26.1 million. What comes out starts SAM's image encoder:

    samjax train experiments/sam/vit_l.py --data.source sa1b_records --init-from runs/mae_vit_l
"""

from samjax.data.photo_data import PhotoDataConfig
from samjax.models.mae import MaeConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import CosineConfig
from samjax.parallel.mesh import MeshConfig, Preset
from samjax.tasks.masked_images import MaskedImageTraining

PHOTOS = 1_281_167
"""Of ImageNet-1K's training set."""
BATCH = 4_096
EPOCHS, WARMUP_EPOCHS = 1_600, 40


def config() -> MaskedImageTraining:
    return MaskedImageTraining(
        model=MaeConfig.vit_l(),
        data=PhotoDataConfig(source=""),  # given on the command line
        optim=OptimConfig(
            schedule=CosineConfig(peak_lr=1.5e-4 * BATCH / 256, warmup_steps=WARMUP_EPOCHS * PHOTOS // BATCH),
            beta1=0.9,
            beta2=0.95,
            weight_decay=0.05,
            layer_decay=1.0,
            clip_norm=0.0,
        ),
        mesh=MeshConfig(preset=Preset.FSDP),
        steps=EPOCHS * PHOTOS // BATCH,
        batch_size=BATCH,
    )
