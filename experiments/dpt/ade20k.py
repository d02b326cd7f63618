"""DPT-Hybrid on ADE20K, the paper's settings as far as it gives them: 48 crops of 480 pixels a step, 240 epochs.

    samjax train experiments/dpt/ade20k.py --data.source ade20k_records --init-from HYBRID --workdir runs/dpt_ade

The paper starts from a hybrid ViT trained on ImageNet. It says nothing of weight decay, which is 0 here, nor of the
scales of crops, which are those of `experiments/setr`.
"""

from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.losses.pixel_cross_entropy import PixelLossConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.optim.build import OptimConfig, Optimizer
from samjax.optim.schedule import PolynomialConfig
from samjax.parallel.mesh import MeshConfig, Preset
from samjax.tasks.semantic import SemanticTraining
from samjax.training.config import CheckpointConfig, ValidationConfig


def config() -> SemanticTraining:
    return SemanticTraining(
        model=DenseConfig.dpt_hybrid_segmentation(),
        data=SegmentDataConfig(source="", fit=(2048, 480)),
        loss=PixelLossConfig(auxiliary_weight=0.2),
        optim=OptimConfig(
            optimizer=Optimizer.SGD,
            schedule=PolynomialConfig(peak_lr=2e-3, warmup_steps=0, power=0.9),
            momentum=0.9,
            weight_decay=0.0,
            layer_decay=1.0,
            clip_norm=0.0,
        ),
        mesh=MeshConfig(preset=Preset.FSDP),
        validation=ValidationConfig(every=10_000, photos=2_000),
        checkpoint=CheckpointConfig(every=2_000),
        steps=101_040,  # 240 epochs of 20,210 photos
        batch_size=48,
    )
