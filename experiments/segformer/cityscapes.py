"""SegFormer-B5 on Cityscapes, the paper's settings: 8 crops of 1024 pixels a step, 160k steps.

    samjax data prepare --format label-maps --classes cityscapes --annotations gtFine/train \\
        --map-suffix _gtFine_labelIds.png --images leftImg8bit/train --photo-suffix _leftImg8bit.png \\
        --out cityscapes_records
    samjax train experiments/segformer/cityscapes.py --data.source cityscapes_records --init-from MIT_B5 \\
        --workdir runs/b5
    samjax evaluate semantic --checkpoint runs/b5 --data cityscapes_val --windows sliding --stride 768 \\
        --fit 2048 1024 --out runs/b5_scores
"""

from dataclasses import replace

from experiments.segformer import ade20k
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.tasks.semantic import SemanticTraining


def config() -> SemanticTraining:
    base = ade20k.config()
    return replace(
        base,
        model=DenseConfig.segformer_b5(classes=19, image_size=(1024, 1024)),
        data=SegmentDataConfig(source="", fit=(2048, 1024)),
        validation=replace(base.validation, photos=500),
        batch_size=8,
    )
