"""Nuclei in microscopy from random weights, on a CPU: the 2018 Data Science Bowl's photos (BBBC038, CC0).

    for split in train val; do
        samjax data prepare --format coco --annotations nuclei/$split.json --images nuclei/$split --split $split \\
            --out records/nuclei_$split
    done
    samjax train experiments/nuclei/from_scratch.py                                # three quarters of an hour
    samjax train experiments/nuclei/whole_photos.py --init-from runs/from_scratch  # twenty minutes

Two cores suffice. Nuclei are small, half of them under 13 pixels across in a frame of 320: a token stands for 8 x 8
pixels, and the stem's finer maps reach the masks. Nothing in a photo depends on what is far away, so the model first
sees crops of 0.3 to 0.6 of a photo's side, twice as many a step in a third of the time; `whole_photos.py` goes on.
Exposure and stain differ from photo to photo, so each is normalised with its own mean and standard deviation. A click
means one nucleus, never a part of it: all three candidates learn it. Automatic masks are chosen by predicted IoU, so
every candidate's is trained. Muon learns from random weights in half the steps of AdamW.
"""

from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import Candidates, LossConfig
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.models.vit.vit import Stem
from samjax.nn.pixels import PixelStatistics
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import CosineConfig
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks.promptable import PromptableTraining
from samjax.training.config import CheckpointConfig


def config() -> PromptableTraining:
    return PromptableTraining(
        model=SamConfig(
            image_size=(128, 128),
            embedding=96,
            details=True,
            pixel_statistics=PixelStatistics.PHOTO,
            image_encoder=ImageEncoderConfig(
                patch=8, stem=Stem.CONVOLUTIONS, width=128, depth=8, heads=4, window=8, global_every=2
            ),
            mask_decoder=MaskDecoderConfig(hidden=256, heads=4, dropout=0.0),
            dtype="float32",
        ),
        data=MaskDataConfig(
            source="records/nuclei_train",
            max_masks=8,
            flip_probability=0.5,
            upside_down_probability=0.5,
            scale_jitter=(1.6, 3.6),
            colour_jitter=0.3,
        ),
        prompting=InteractionConfig(corrections=2, refinement=Refinement.LAST),
        loss=LossConfig(loss_size=64, focal_weight=4.0, masks_of=Candidates.EVERY, iou_of=Candidates.EVERY),
        optim=OptimConfig(
            schedule=CosineConfig(peak_lr=2e-3, warmup_steps=100),
            beta2=0.98,
            weight_decay=0.01,
            layer_decay=1.0,
            muon=("**/groups/**/kernel", "mask_decoder/transformer/**/kernel"),
        ),
        checkpoint=CheckpointConfig(every=100, keep=2),
        steps=3_000,
        batch_size=4,
        ema=0.998,
        log_every=25,
    )
