"""HRFormer-B with OCR on Pascal Context, the authors' settings: 16 crops of 520 pixels a step, 60k steps.

samjax train experiments/hrformer/pascal_context.py --data.source pascal_records --init-from HRT_B \\
        --workdir runs/hrt
"""

from dataclasses import replace

from experiments.hrformer import cityscapes
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.tasks.semantic import SemanticTraining


def config() -> SemanticTraining:
    base = cityscapes.config()
    return replace(
        base,
        model=DenseConfig.hrformer_b_window15(classes=59),
        data=replace(base.data, fit=(2048, 520)),
        loss=replace(base.loss, class_weights=()),
        validation=replace(base.validation, photos=5_104),
        steps=60_000,
        batch_size=16,
    )
