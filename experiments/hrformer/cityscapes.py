"""HRFormer-B with OCR on Cityscapes, the authors' settings: 8 crops of 512 x 1024 pixels a step, 80k steps.

    samjax train experiments/hrformer/cityscapes.py --data.source cityscapes_records --init-from HRT_B \\
        --workdir runs/hrt
    samjax evaluate semantic --checkpoint runs/hrt --data cityscapes_val --fit 2048 1024 --scales 0.75 1 1.25 --flip \\
        --out runs/hrt_scores

The paper starts from an encoder trained on ImageNet-1K. Hard pixels alone count, classes are weighed.
"""

from samjax.data.segments.photometric import PhotometricConfig
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.losses.pixel_cross_entropy import PixelLossConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.hrnet.hrnet import HrnetConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import PolynomialConfig
from samjax.parallel.mesh import MeshConfig, Preset
from samjax.tasks.semantic import SemanticTraining
from samjax.training.config import CheckpointConfig, ValidationConfig

WEIGHTS = (
    0.8373, 0.918, 0.866, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023,
    0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507,
)  # fmt: skip
"""Of the 19 classes, as HRNet's authors weigh them."""


def config() -> SemanticTraining:
    return SemanticTraining(
        model=DenseConfig.hrformer_b_window15(
            classes=19, image_size=(512, 1024), encoder=HrnetConfig.hrformer_b(window=15, drop_path=0.4)
        ),
        data=SegmentDataConfig(
            source="",
            fit=(2048, 1024),
            aspect_jitter=(0.9, 1.1),
            most_of_class=1.0,
            photometric=PhotometricConfig(brightness=10.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=0.0),
        ),
        loss=PixelLossConfig(class_weights=WEIGHTS, hard_threshold=0.9, least_hard=100_000, auxiliary_weight=0.4),
        optim=OptimConfig(
            schedule=PolynomialConfig(peak_lr=1e-4, warmup_steps=1_500, power=0.9),
            weight_decay=0.01,
            layer_decay=1.0,
            clip_norm=0.0,
        ),
        mesh=MeshConfig(preset=Preset.FSDP),
        validation=ValidationConfig(every=8_000, photos=500),
        checkpoint=CheckpointConfig(every=2_000),
        steps=80_000,
        batch_size=8,
    )
