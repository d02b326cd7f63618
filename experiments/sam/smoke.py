"""A Segment Anything model learns from a few dozen real photos on a laptop's CPU, in under three minutes.

    samjax train experiments/sam/smoke.py

What a few hundred steps need is not the paper's: a higher rate, a fifth of its weight on the focal loss, which
otherwise keeps every mask empty for the first hundred steps, and what docs/small_models.md found: patches of 8 pixels
made by convolutions, mirrored photos, and the IoU of every candidate trained.
"""

from pathlib import Path

from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import Candidates, LossConfig
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.models.vit.vit import Stem
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import DropsConfig
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks.promptable import ClickValidationConfig, PromptableTraining
from samjax.training.config import CheckpointConfig

PHOTOS = Path(__file__).parent / "photos"


def config() -> PromptableTraining:
    return PromptableTraining(
        model=SamConfig.tiny(
            embedding=64,
            image_encoder=ImageEncoderConfig(
                patch=8, stem=Stem.CONVOLUTIONS, width=96, depth=4, heads=3, window=5, global_every=2
            ),
            mask_decoder=MaskDecoderConfig(hidden=128, heads=2, dropout=0.0),
        ),
        data=MaskDataConfig(source=str(PHOTOS / "train"), max_masks=4, min_area_fraction=0.01, flip_probability=0.5),
        prompting=InteractionConfig(corrections=2, refinement=Refinement.LAST),
        loss=LossConfig(loss_size=64, focal_weight=4.0, iou_of=Candidates.EVERY),
        optim=OptimConfig(
            schedule=DropsConfig(peak_lr=1.5e-3, warmup_steps=50, milestones=(500,)), beta2=0.98, layer_decay=1.0
        ),
        validation=ClickValidationConfig(
            source=str(PHOTOS / "val"), every=600, photos=40, max_masks=4, min_area_fraction=0.01
        ),
        checkpoint=CheckpointConfig(every=200),
        steps=600,
        batch_size=4,
        seed=1,
        log_every=20,
    )
