"""SAM ViT-H as it made SA-1B, the paper's settings: 642,670,128 parameters, 256 photos a step, 177,656 steps.

The third stage of the data engine used a variant of SAM of its own (Segment Anything, appendix B). It differs from
`vit_h.py` in what the paper names:

- a mask decoder of three layers instead of two;
- first prompts are points, never boxes; later rounds have points and the mask before, as always;
- 4 points per mask instead of 9: no loss with one point, worse with many;
- 177,656 steps instead of 90,000, with large-scale jitter of 0.1 to 2.0;
- trained on the masks of stages 1 and 2 alone, which people made or completed: give your own, in SA-1B's layout.

The paper is silent about the photos per step, the rates and their milestones, the weights that it starts from, and
whether the two rounds without a new click remain: all are those of `vit_h.py`, the milestones at the same shares of
the run. Six rounds of the decoder instead of eleven make a step cheaper.

    samjax train experiments/sam/data_making.py --data.source annotated --workdir runs/maker --init-from mae_vit_h
    samjax generate --checkpoint runs/maker --images 'photos/*.tar' --out masks --preset sa1b --part 1/16
"""

from dataclasses import replace

from experiments.sam import vit_h
from samjax.optim.schedule import DropsConfig
from samjax.tasks.promptable import PromptableTraining

SCHEDULE = DropsConfig(peak_lr=8e-4, warmup_steps=250, milestones=(118_437, 171_075))


def config() -> PromptableTraining:
    base = vit_h.config()
    return replace(
        base,
        model=replace(base.model, mask_decoder=replace(base.model.mask_decoder, depth=3)),
        data=replace(base.data, scale_jitter=(0.1, 2.0)),
        prompting=replace(base.prompting, point_probability=1.0, corrections=3),
        optim=replace(base.optim, schedule=SCHEDULE),
        steps=177_656,
    )
