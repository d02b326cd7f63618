"""A Segment Anything model learns from a few dozen real photos on a laptop's CPU, in under three minutes.

    samjax train experiments/sam/smoke.py
"""

from pathlib import Path

from samjax.data.loader import DataConfig
from samjax.losses.sam import LossConfig
from samjax.models.sam.config import SamConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import ScheduleConfig
from samjax.prompting.interactive import InteractionConfig
from samjax.train.config import CheckpointConfig, TrainConfig, ValidationConfig

PHOTOS = Path(__file__).parent / "photos"


def config() -> TrainConfig:
    return TrainConfig(
        model=SamConfig.tiny(),
        data=DataConfig(source=str(PHOTOS / "train"), max_masks=4),
        prompting=InteractionConfig(corrections=3),
        loss=LossConfig(loss_size=64),
        optim=OptimConfig(
            schedule=ScheduleConfig(peak_lr=1e-3, warmup_steps=30, milestones=(240,)),
            layer_decay=1.0,
        ),
        validation=ValidationConfig(
            source=str(PHOTOS / "val"), every=150, photos=40, max_masks=4, batch_size=8, clicks=(1, 2, 3, 5, 8)
        ),
        checkpoint=CheckpointConfig(every=100),
        steps=300,
        batch_size=8,
        log_every=10,
    )
