"""SAM ViT-H on SA-1B, the paper's settings: 641,090,608 parameters, 256 photos a step, 90,000 steps.

Prepare SA-1B once, then train; on several hosts see `launch/README.md`:

    samjax data prepare --source 'sa1b/sa_*.tar' --out sa1b_records
    samjax train experiments/sam/vit_h.py --data.source sa1b_records --workdir runs/vit_h

The original took 256 A100 GPUs for 68 hours, 2.7 s a step with one photo a GPU. Parameters and optimiser moments are
7.7 GB, split over 16 devices. The paper starts the image encoder from MAE weights. This run starts from random ones,
and is not expected to reach the paper's masks in the paper's number of steps, unless it is given them:

    samjax import mae_pretrain_vit_huge.pth --out mae_vit_h
    samjax train experiments/sam/vit_h.py --data.source sa1b_records --workdir runs/vit_h --init-from mae_vit_h
"""

from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import LossConfig
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.nn.stack import Remat
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import DropsConfig
from samjax.parallel.mesh import MeshConfig, Preset
from samjax.prompting.interactive import InteractionConfig
from samjax.tasks.promptable import PromptableTraining


def config() -> PromptableTraining:
    return PromptableTraining(
        model=SamConfig.vit_h(
            image_encoder=ImageEncoderConfig(drop_path=0.4, remat=Remat.FULL),
            mask_decoder=MaskDecoderConfig(dropout=0.1),
            dtype="bfloat16",
        ),
        data=MaskDataConfig(source="", max_masks=64, max_area_fraction=0.9),  # given on the command line
        prompting=InteractionConfig(corrections=8),
        loss=LossConfig(loss_size=256),
        optim=OptimConfig(
            schedule=DropsConfig(peak_lr=8e-4, warmup_steps=250, milestones=(60_000, 86_666)),
            weight_decay=0.1,
            layer_decay=0.8,
        ),
        mesh=MeshConfig(preset=Preset.FSDP),
        steps=90_000,
        batch_size=256,
    )
