"""SETR-MLA on ADE20K, the authors' settings: 16 crops of 512 pixels a step, 160k steps.

    samjax train experiments/setr/ade20k.py --data.source ade20k_records --init-from VIT_L --workdir runs/setr_mla

The paper starts from ViT-L/16 trained on ImageNet-21K at 384 pixels, whose positions are resized.
"""

from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.optim.build import OptimConfig, Optimizer
from samjax.optim.schedule import PolynomialConfig
from samjax.parallel.mesh import MeshConfig, Preset
from samjax.tasks.semantic import SemanticTraining
from samjax.training.config import CheckpointConfig, ValidationConfig


def config() -> SemanticTraining:
    return SemanticTraining(
        model=DenseConfig.setr_mla(),
        data=SegmentDataConfig(source="", fit=(2048, 512)),
        optim=OptimConfig(
            optimizer=Optimizer.SGD,
            schedule=PolynomialConfig(peak_lr=1e-3, warmup_steps=0, power=0.9, end_lr=1e-4),
            momentum=0.9,
            weight_decay=0.0,
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
