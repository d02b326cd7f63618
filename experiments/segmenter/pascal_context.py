"""Segmenter L/16 with mask transformer on Pascal Context, the authors' settings: 256 epochs.

samjax train experiments/segmenter/pascal_context.py --data.source pascal_records --init-from VIT_L --workdir runs/pc
samjax evaluate semantic --checkpoint runs/pc --data pascal_val --stride 320 --out runs/pc_scores
"""

from dataclasses import replace

from experiments.segmenter import ade20k
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.tasks.semantic import SemanticTraining


def config() -> SemanticTraining:
    base = ade20k.config()
    return replace(
        base,
        model=DenseConfig.segmenter_l16(classes=59, image_size=(480, 480)),
        data=SegmentDataConfig(source="", fit=(520, 520)),
        validation=replace(base.validation, every=8_000, photos=5_104),
        steps=79_872,  # 256 epochs of 4,996 photos
        batch_size=16,
    )
