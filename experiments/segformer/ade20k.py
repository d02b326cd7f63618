"""SegFormer-B5 on ADE20K, the paper's settings: 16 crops of 640 pixels a step, 160k steps.

    samjax data prepare --format label-maps --classes ade20k --annotations ADE/annotations/training \\
        --images ADE/images/training --out ade20k_records
    samjax train experiments/segformer/ade20k.py --data.source ade20k_records --init-from MIT_B5 --workdir runs/b5

The paper starts from an encoder trained on ImageNet-1K. For other sizes give a base of `DenseConfig.segformer_b0()` to
`segformer_b4()`, which see 512 pixels.
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
        model=DenseConfig.segformer_b5(),
        data=SegmentDataConfig(source="", fit=(2048, 640)),
        optim=OptimConfig(
            schedule=PolynomialConfig(peak_lr=6e-5, warmup_steps=1_500, power=1.0),
            weight_decay=0.01,
            layer_decay=1.0,
            rates=("head/**=10",),
            clip_norm=0.0,
        ),
        mesh=MeshConfig(preset=Preset.FSDP),
        validation=ValidationConfig(every=16_000, photos=2_000),
        checkpoint=CheckpointConfig(every=2_000),
        steps=160_000,
        batch_size=16,
    )
