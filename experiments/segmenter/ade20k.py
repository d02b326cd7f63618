"""Segmenter L/16 with mask transformer on ADE20K, the authors' settings: 8 crops of 640 pixels a step, 64 epochs.

    samjax train experiments/segmenter/ade20k.py --data.source ade20k_records --init-from VIT_L --workdir runs/segmenter
    samjax evaluate semantic --checkpoint runs/segmenter --data ade20k_val --stride 640 --out runs/segmenter_scores

The paper starts from ViT-L/16 of ImageNet-21K (Steiner et al. 2021), such as `samjax import` makes VIT_L of AugReg's
`.npz` or timm's file, and drops paths in the encoder and units of the mask transformer.
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
        model=DenseConfig.segmenter_l16(),
        data=SegmentDataConfig(source="", fit=(2048, 640)),
        optim=OptimConfig(
            optimizer=Optimizer.SGD,
            schedule=PolynomialConfig(peak_lr=1e-3, warmup_steps=0, power=0.9, end_lr=1e-5),
            momentum=0.9,
            weight_decay=0.0,
            layer_decay=1.0,
            clip_norm=0.0,
        ),
        mesh=MeshConfig(preset=Preset.FSDP),
        validation=ValidationConfig(every=16_000, photos=2_000),
        checkpoint=CheckpointConfig(every=2_000),
        steps=161_664,  # 64 epochs of 20,210 photos
        batch_size=8,
    )
