"""The model of nuclei that comes with samjax, on photos of one's own cells: everything is trained, at a low rate.

    samjax data prepare --format coco --annotations cells.json --images cells --out my_records --holdout 0.2
    samjax train experiments/nuclei/finetune.py --data.source my_records --validation.source my_records

Half an hour on two cores. It stops after four validations without a better one.
"""

from dataclasses import replace

from experiments.nuclei import whole_photos
from samjax.optim.schedule import CosineConfig
from samjax.tasks.promptable import ClickValidationConfig, PromptableTraining


def config() -> PromptableTraining:
    whole = whole_photos.config()
    return replace(
        whole,
        init_from="nuclei",
        data=replace(whole.data, source="my_records"),
        optim=replace(whole.optim, schedule=CosineConfig(peak_lr=2e-4, warmup_steps=20)),
        validation=ClickValidationConfig(
            source="my_records", every=50, photos=32, batch_size=4, max_masks=16, patience=4
        ),
        steps=300,
    )
