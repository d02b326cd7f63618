"""SETR-PUP on Cityscapes, the authors' settings: 8 crops of 768 pixels a step, 80k steps.

samjax train experiments/setr/cityscapes.py --data.source cityscapes_records --init-from VIT_L --workdir runs/setr_pup
samjax evaluate semantic --checkpoint runs/setr_pup --data cityscapes_val --stride 512 --fit 2048 1024 --out runs/scores
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
        model=DenseConfig.setr_pup(classes=19, image_size=(768, 768)),
        data=SegmentDataConfig(source="", fit=(2048, 1024)),
        optim=replace(base.optim, schedule=replace(base.optim.schedule, peak_lr=1e-2)),
        validation=replace(base.validation, every=8_000, photos=500),
        steps=80_000,
        batch_size=8,
    )
