"""Nuclei in microscopy from random weights, on a CPU: the 2018 Data Science Bowl's photos (BBBC038, CC0).

    for split in train val; do
        samjax data prepare --format coco --annotations nuclei/$split.json --images nuclei/$split --split $split \\
            --out nuclei_records/$split
    done
    samjax train experiments/nuclei/from_scratch.py

Two hours on two cores. Nuclei are small, a tenth of them under 60 pixels: a token stands for 8 x 8 pixels, and photos
are shown at up to 1.6 times their size in the frame. Automatic masks are chosen by predicted IoU, so every candidate's
is trained.
"""

from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import Candidates, LossConfig
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.models.vit.vit import Stem
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import CosineConfig
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks.promptable import ClickValidationConfig, PromptableTraining
from samjax.training.config import CheckpointConfig


def config() -> PromptableTraining:
    return PromptableTraining(
        model=SamConfig(
            image_size=(256, 256),
            embedding=64,
            image_encoder=ImageEncoderConfig(
                patch=8, stem=Stem.CONVOLUTIONS, width=128, depth=4, heads=4, window=8, global_every=2
            ),
            mask_decoder=MaskDecoderConfig(hidden=256, heads=4, dropout=0.0),
            dtype="float32",
        ),
        data=MaskDataConfig(
            source="nuclei_records/train",
            max_masks=8,
            flip_probability=0.5,
            scale_jitter=(0.8, 1.6),
            colour_jitter=0.2,
        ),
        prompting=InteractionConfig(corrections=2, refinement=Refinement.LAST),
        loss=LossConfig(loss_size=128, focal_weight=4.0, iou_of=Candidates.EVERY),
        optim=OptimConfig(
            schedule=CosineConfig(peak_lr=1e-3, warmup_steps=100), beta2=0.98, weight_decay=0.01, layer_decay=1.0
        ),
        validation=ClickValidationConfig(
            source="nuclei_records/val", every=500, photos=98, batch_size=7, max_masks=16, clicks=(1, 2, 3, 5, 8)
        ),
        checkpoint=CheckpointConfig(every=100, keep=2, best="miou@1"),
        steps=6_000,
        batch_size=4,
        ema=0.998,
        log_every=25,
    )
