"""A masked autoencoder learns from a few dozen real photos on a laptop's CPU, in under two minutes.

    samjax train experiments/mae/smoke.py --workdir runs/mae

Records are prepared from the shipped photos first. The loss on held-out photos falls, and WORKDIR/samples shows them
filled in: first grey, then the large shapes and their colours. Targets are plain pixels here: normalised ones are drawn
with each patch's mean and deviation from the photo itself, which shows less of what was learnt.
"""

from pathlib import Path

from samjax.data.frame import Decoding
from samjax.data.photo_data import PhotoDataConfig
from samjax.models.mae import MaeConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import CosineConfig
from samjax.tasks.masked_images import MaskedImageTraining
from samjax.training.config import CheckpointConfig, ValidationConfig

PHOTOS = Path(__file__).parents[1] / "sam" / "photos"


def config() -> MaskedImageTraining:
    return MaskedImageTraining(
        model=MaeConfig.tiny(normalise_targets=False),
        data=PhotoDataConfig(source=str(PHOTOS / "train"), decoding=Decoding.SCALED),
        optim=OptimConfig(
            schedule=CosineConfig(peak_lr=1.5e-3, warmup_steps=40),
            beta2=0.95,
            weight_decay=0.05,
            layer_decay=1.0,
            clip_norm=0.0,
        ),
        validation=ValidationConfig(source=str(PHOTOS / "val"), every=500, photos=40),
        checkpoint=CheckpointConfig(every=500),
        steps=2_500,
        batch_size=16,
        log_every=50,
    )
