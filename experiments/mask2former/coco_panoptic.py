"""Mask2Former on Swin-T and COCO panoptic, the paper's settings: 16 crops of 1024 pixels a step, 50 epochs.

    samjax data prepare --format panoptic --classes annotations --annotations panoptic_train2017.json \\
        --images train2017 --out coco_panoptic
    samjax train experiments/mask2former/coco_panoptic.py --data.source coco_panoptic --workdir runs/mask2former

The authors start from a backbone trained on ImageNet, train in half precision with scaled losses, decay biases, and pad
small photos with grey before normalisation; here the padding comes after it. For other sizes give `model` another
classmethod of `Mask2FormerConfig`; Swin-L trains 100 epochs.
"""

from samjax.data.segments.photometric import PhotometricConfig
from samjax.data.segments.segment_set_data import SegmentSetDataConfig
from samjax.models.query_masks.mask2former import Mask2FormerConfig
from samjax.models.swin.swin import SwinConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import DropsConfig
from samjax.parallel.mesh import MeshConfig, Preset
from samjax.tasks.set_prediction import SetPredictionTraining
from samjax.training.config import CheckpointConfig, ValidationConfig

STEPS = 368_750


def config() -> SetPredictionTraining:
    return SetPredictionTraining(
        model=Mask2FormerConfig.swin_t(encoder=SwinConfig.swin_t(drop_path=0.3)),
        data=SegmentSetDataConfig(source="", photometric=PhotometricConfig(probability=0.0)),
        optim=OptimConfig(
            schedule=DropsConfig(peak_lr=1e-4, warmup_steps=10, milestones=(327_778, 355_092)),
            weight_decay=0.05,
            layer_decay=1.0,
            rates=("encoder/**=0.1",),
            clip_norm=0.01,
        ),
        mesh=MeshConfig(preset=Preset.FSDP),
        validation=ValidationConfig(every=10_000, photos=5_000),
        checkpoint=CheckpointConfig(every=2_000),
        steps=STEPS,
        batch_size=16,
    )
