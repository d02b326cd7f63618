"""PVT v2 B5 with Semantic FPN on ADE20K, the authors' settings: 32 crops of 512 pixels a step, 40k steps.

    samjax train experiments/pvt/ade20k.py --data.source ade20k_records --init-from PVT_V2_B5 --workdir runs/pvt

The paper starts from an encoder trained on ImageNet-1K. `DenseConfig.pvt_tiny_fpn()` to `pvt_large_fpn()` are the first
version's sizes, `pvt_v2_b0_fpn()` to `pvt_v2_b4_fpn()` the second's.
"""

from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import PolynomialConfig
from samjax.parallel.mesh import MeshConfig, Preset
from samjax.tasks.semantic import SemanticTraining
from samjax.training.config import CheckpointConfig, ValidationConfig


def config() -> SemanticTraining:
    return SemanticTraining(
        model=DenseConfig.pvt_v2_b5_fpn(),
        data=SegmentDataConfig(source="", fit=(2048, 512)),
        optim=OptimConfig(
            schedule=PolynomialConfig(peak_lr=2e-4, warmup_steps=0, power=0.9),
            weight_decay=1e-4,
            layer_decay=1.0,
            clip_norm=0.0,
        ),
        mesh=MeshConfig(preset=Preset.FSDP),
        validation=ValidationConfig(every=4_000, photos=2_000),
        checkpoint=CheckpointConfig(every=1_000),
        steps=40_000,
        batch_size=32,
    )
