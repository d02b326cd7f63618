"""The second half of `from_scratch.py`: the model of crops learns whole photos, in the frame that it is used with.

    samjax train experiments/nuclei/whole_photos.py --init-from runs/from_scratch

Three quarters of an hour on two cores. Tables of positions are stretched to the larger frame; after some dozens of
steps the model has got used to it.
"""

from dataclasses import replace

from experiments.nuclei import from_scratch
from samjax.optim.schedule import CosineConfig
from samjax.tasks.promptable import ClickValidationConfig, PromptableTraining


def config() -> PromptableTraining:
    crops = from_scratch.config()
    return replace(
        crops,
        init_from="runs/from_scratch",
        model=replace(crops.model, image_size=(256, 256)),
        data=replace(crops.data, scale_jitter=(0.8, 1.6)),
        loss=replace(crops.loss, loss_size=128),
        optim=replace(crops.optim, schedule=CosineConfig(peak_lr=1e-3, warmup_steps=50)),
        validation=ClickValidationConfig(
            source="records/nuclei_val", every=500, photos=98, batch_size=7, max_masks=16, clicks=(1, 2, 3, 5, 8)
        ),
        checkpoint=replace(crops.checkpoint, best="miou@1"),
        steps=2_000,
    )
