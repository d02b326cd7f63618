"""HRFormer-B with OCR on ADE20K, the authors' settings: 8 crops of 520 pixels a step, 150k steps.

samjax train experiments/hrformer/ade20k.py --data.source ade20k_records --init-from HRT_B --workdir runs/hrt
"""

from dataclasses import replace

from experiments.hrformer import cityscapes
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.tasks.semantic import SemanticTraining


def config() -> SemanticTraining:
    base = cityscapes.config()
    return replace(
        base,
        model=DenseConfig.hrformer_b_window13(),
        data=replace(base.data, fit=(2048, 520)),
        loss=replace(base.loss, class_weights=()),
        validation=replace(base.validation, photos=2_000),
        steps=150_000,
        batch_size=8,
    )
