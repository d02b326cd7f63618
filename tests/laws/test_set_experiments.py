"""The experiments of Mask2Former carry the paper's numbers, written here a second time."""

from pathlib import Path

from samjax.core.experiment import load_experiment
from samjax.data.segments.segment_set_data import Grouping
from samjax.optim.build import decay_mask
from samjax.tasks.set_prediction import SetPredictionTraining

EXPERIMENTS = Path(__file__).parents[2] / "experiments" / "mask2former"


def test_coco_panoptic():
    """Cheng et al. 2022, and the released settings."""
    config = load_experiment(EXPERIMENTS / "coco_panoptic.py", SetPredictionTraining)
    optim, schedule, data = config.optim, config.optim.schedule, config.data
    assert (config.steps, config.batch_size) == (50 * 118_000 // 16, 16)
    assert (optim.weight_decay, optim.clip_norm, optim.rates) == (0.05, 0.01, ("encoder/**=0.1",))
    assert (schedule.peak_lr, schedule.warmup_steps) == (1e-4, 10)
    assert [round(one / config.steps, 3) for one in schedule.milestones] == [0.889, 0.963]
    assert (data.fit, data.scale_jitter, data.grouping) == ((1024, 1024), (0.1, 2.0), Grouping.PANOPTIC)
    assert data.photometric.probability == 0.0
    assert (config.loss.points, config.loss.class_weight, config.loss.null_weight) == (12_544, 2.0, 0.1)
    assert (config.loss.mask_weight, config.loss.dice_weight) == (5.0, 5.0)
    assert (config.model.classes, config.model.encoder.drop_path, config.model.decoder.queries) == (133, 0.3, 100)


def test_tables_of_queries_positions_and_offsets_do_not_decay():
    names = (
        "decoder/queries",
        "decoder/position",
        "decoder/level",
        "encoder/stages/0/pairs/tiled/attention/offsets",
        "pixel_decoder/project/0/norm/scale",
    )
    for name in names:
        parameters = 0.0
        for part in reversed(name.split("/")):
            parameters = {part: parameters}
        mask = decay_mask(parameters)
        while isinstance(mask, dict):
            (mask,) = mask.values()
        assert mask is False, name
    kernel = {"pixel_decoder": {"layers": {"attention": {"offsets": {"kernel": 0.0}}}}}
    assert decay_mask(kernel)["pixel_decoder"]["layers"]["attention"]["offsets"]["kernel"] is True
