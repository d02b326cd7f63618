"""A small SegFormer on 43 microscopy photos that ship: which pixels are of a nucleus. Three minutes on two cores.

    samjax train experiments/semantic/smoke.py --workdir runs/semantic
    samjax evaluate semantic --checkpoint runs/semantic --data experiments/semantic/photos/val --out runs/scores
    samjax segment --checkpoint runs/semantic --images 'cells/*.png' --out runs/labels

The photos' masks are the classes: 1 where one is, 0 elsewhere. Of one's own photos `samjax data prepare --classes`
makes records with classes by name, see docs/semantic.md.
"""

from pathlib import Path

from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.losses.pixel_cross_entropy import PixelLossConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.all_mlp import AllMlpConfig
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.nn.pixels import PixelStatistics
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import PolynomialConfig
from samjax.tasks.semantic import SemanticTraining
from samjax.training.config import CheckpointConfig, ValidationConfig

PHOTOS = Path(__file__).parent / "photos"


def config() -> SemanticTraining:
    return SemanticTraining(
        model=DenseConfig(
            image_size=(128, 128),
            classes=2,
            pixel_statistics=PixelStatistics.PHOTO,
            encoder=PyramidConfig.mit_b0(drop_path=0.1),
            head=AllMlpConfig(width=128),
            dtype="float32",
        ),
        data=SegmentDataConfig(
            source=str(PHOTOS / "train"), of_masks=True, fit=(256, 128), scale_jitter=(0.75, 3.0), most_of_class=0.95
        ),
        loss=PixelLossConfig(),
        optim=OptimConfig(
            schedule=PolynomialConfig(peak_lr=1e-3, warmup_steps=50, power=1.0), weight_decay=0.05, layer_decay=1.0
        ),
        validation=ValidationConfig(source=str(PHOTOS / "val"), every=100, photos=21, batch_size=8),
        checkpoint=CheckpointConfig(every=200, keep=2),
        steps=400,
        batch_size=8,
        log_every=25,
    )
