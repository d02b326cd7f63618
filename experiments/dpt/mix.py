"""DPT-Large for depth, the paper's settings as far as it gives them: 16 photos a step, 60 epochs of 72k steps.

    samjax data prepare --format depth --annotations DEPTHS --images PHOTOS --depth-scale 1000 --out records
    samjax train experiments/dpt/mix.py --data.source records --init-from VIT_L --workdir runs/dpt
    samjax evaluate depth --checkpoint runs/dpt --data nyu_records --crop eigen-nyu --out runs/dpt_scores

The paper mixes ten data sets (MIX 6, 1.4 million photos), which `data.mixed_in` can do with equal or other weights; its
own weighting is not here. It starts from ViT-L/16 trained on ImageNet. The longer side is scaled to 384 pixels, and the
rest of the frame is padding that counts for nothing.
"""

from samjax.data.depth_data import DepthDataConfig
from samjax.losses.inverse_depth import DepthLossConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import ConstantConfig
from samjax.parallel.mesh import MeshConfig, Preset
from samjax.tasks.depth import DepthTraining, DepthValidationConfig
from samjax.training.config import CheckpointConfig


def config() -> DepthTraining:
    return DepthTraining(
        model=DenseConfig.dpt_large_depth(),
        data=DepthDataConfig(source=""),
        loss=DepthLossConfig(),
        optim=OptimConfig(
            schedule=ConstantConfig(peak_lr=1e-5, warmup_steps=0),
            weight_decay=0.0,
            layer_decay=1.0,
            rates=("head/**=10", "encoder/readouts/**=10"),  # what does not come with the ViT
            clip_norm=0.0,
        ),
        mesh=MeshConfig(preset=Preset.FSDP),
        validation=DepthValidationConfig(every=72_000, photos=1_000),
        checkpoint=CheckpointConfig(every=10_000),
        steps=60 * 72_000,
        batch_size=16,
    )
