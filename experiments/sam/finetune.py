"""SAM ViT-B from released weights on a hundred photos of one's own: prompt encoder and mask decoder, 1,000 steps.

    samjax import sam_vit_b_01ec64.pth --out weights/sam_vit_b
    samjax data prepare --format coco --annotations cells.json --images cells --out my_records --holdout 0.2
    samjax train experiments/sam/finetune.py --cache-embeddings embeddings

The split `val` that --holdout makes says when to stop: after ten validations without a better one. docs/finetuning.md
says what to look at, and what to change.
"""

from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import LossConfig
from samjax.models.sam.sam import SamConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import CosineConfig
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks.promptable import ClickValidationConfig, PromptableTraining
from samjax.training.config import CheckpointConfig


def config() -> PromptableTraining:
    return PromptableTraining(
        model=SamConfig.vit_b(),
        init_from="weights/sam_vit_b",
        trainable=("prompt_encoder/**", "mask_decoder/**"),
        data=MaskDataConfig(source="my_records", max_masks=16),
        prompting=InteractionConfig(corrections=2, refinement=Refinement.LAST),
        loss=LossConfig(),
        optim=OptimConfig(schedule=CosineConfig(peak_lr=1e-4, warmup_steps=50), weight_decay=0.01, layer_decay=1.0),
        validation=ClickValidationConfig(source="my_records", every=50, photos=64, batch_size=4, patience=10),
        checkpoint=CheckpointConfig(every=100, keep=2, best="miou@1"),
        steps=1_000,
        batch_size=4,
        log_every=10,
    )
