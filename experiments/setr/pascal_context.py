"""SETR-MLA on Pascal Context, 59 classes, the authors' settings: 16 crops of 480 pixels a step, 80k steps.

samjax train experiments/setr/pascal_context.py --data.source pascal_records --init-from VIT_L --workdir runs/setr_mla
samjax evaluate semantic --checkpoint runs/setr_mla --data pascal_val --stride 320 --out runs/setr_mla_scores
"""

from dataclasses import replace

from experiments.setr import ade20k
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.tasks.semantic import SemanticTraining


def config() -> SemanticTraining:
    base = ade20k.config()
    return replace(
        base,
        model=DenseConfig.setr_mla(classes=59, image_size=(480, 480)),
        data=SegmentDataConfig(source="", fit=(520, 520)),
        validation=replace(base.validation, every=8_000, photos=5_104),
        steps=80_000,
    )
