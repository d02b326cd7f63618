"""`small` on a few dozen photos, about an hour on two cores: a model that evaluations can be tried with.

    samjax train experiments/sam/small.py
    samjax train experiments/sam/small.py --data.source TARS --validation.source OTHER_TARS
    samjax evaluate point-to-mask --checkpoint runs/small --data experiments/sam/photos/val --out runs/small_points

The recipe is that of benchmarks/overfit.py, with photos mirrored: it learns these photos and something of others.
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
        model=SamConfig.small(),
        data=MaskDataConfig(source=str(PHOTOS / "train"), max_masks=6, min_area_fraction=0.005, flip_probability=0.5),
        prompting=InteractionConfig(corrections=2, refinement=Refinement.LAST),
        loss=LossConfig(loss_size=128, focal_weight=4.0),
        optim=OptimConfig(
            schedule=DropsConfig(peak_lr=1e-3, warmup_steps=50, milestones=(1_000, 1_300), drop_factor=0.3),
            weight_decay=0.01,
            layer_decay=1.0,
            beta2=0.98,
        ),
        validation=ClickValidationConfig(source=str(PHOTOS / "val"), every=750, photos=24, max_masks=8, batch_size=4),
        checkpoint=CheckpointConfig(every=100, keep=2),
        steps=1_500,
        batch_size=4,
        log_every=25,
    )
