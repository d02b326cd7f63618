"""A Segment Anything model learns from a few dozen real photos on a laptop's CPU, in under three minutes.

    samjax train experiments/sam/smoke.py

What a few hundred steps need is not the paper's: a higher rate, and a fifth of its weight on the focal loss, which
otherwise keeps every mask empty for the first hundred steps.
"""

from pathlib import Path

from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import LossConfig
from samjax.models.sam.sam import SamConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import DropsConfig
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks.promptable import ClickValidationConfig, PromptableTraining
from samjax.training.config import CheckpointConfig

PHOTOS = Path(__file__).parent / "photos"


def config() -> PromptableTraining:
    return PromptableTraining(
        model=SamConfig.tiny(),
        data=MaskDataConfig(source=str(PHOTOS / "train"), max_masks=4, min_area_fraction=0.01),
        prompting=InteractionConfig(corrections=2, refinement=Refinement.LAST),
        loss=LossConfig(loss_size=32, focal_weight=4.0),
        optim=OptimConfig(
            schedule=DropsConfig(peak_lr=2e-3, warmup_steps=30, milestones=(280,)), beta2=0.98, layer_decay=1.0
        ),
        validation=ClickValidationConfig(
            source=str(PHOTOS / "val"), every=330, photos=40, max_masks=4, min_area_fraction=0.01
        ),
        checkpoint=CheckpointConfig(every=110),
        steps=330,
        batch_size=8,
        seed=1,
        log_every=10,
    )
