"""Mask2Former learns eight shipped photos by heart, and what its task refuses."""

import dataclasses
from pathlib import Path

import jax
import pytest
from helpers.learned_by_heart import learn

from data_pipelines.sa1b import prepare
from samjax.core.errors import UserError
from samjax.data.classes.class_table import ClassTable, SegmentClass
from samjax.data.segments.segment_set_data import Grouping, SegmentSetDataConfig
from samjax.losses.set_loss import SetLossConfig
from samjax.models.query_masks.mask2former import Mask2FormerConfig
from samjax.models.query_masks.mask2former_sizes import Mask2FormerSizes
from samjax.models.swin.swin import SwinConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import PolynomialConfig
from samjax.parallel.mesh import MeshConfig
from samjax.tasks.set_prediction import SetPredictionTraining
from samjax.training.config import ValidationConfig

PHOTOS = Path(__file__).parents[2] / "experiments" / "sam" / "photos" / "train"
STEPS, KNOWN_PHOTOS, SIDE = 400, 8, 96
TINY = Mask2FormerConfig(
    image_size=(SIDE, SIDE),
    classes=1,
    encoder=SwinConfig(width=16, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), window=6),
    decoder=Mask2FormerSizes(width=64, heads=4, pixel_layers=2, pixel_hidden=128, layers=3, hidden=128, queries=24),
    dtype="float32",
)


def training(source: str, **changes) -> SetPredictionTraining:
    given = {
        "model": TINY,
        "data": SegmentSetDataConfig(source=source, of_masks=True, slots=24),
        "loss": SetLossConfig(points=1024),
        "optim": OptimConfig(
            schedule=PolynomialConfig(peak_lr=1e-3, warmup_steps=20), weight_decay=0.0, layer_decay=1.0
        ),
        "validation": ValidationConfig(source=source, split="train", photos=KNOWN_PHOTOS, batch_size=KNOWN_PHOTOS),
        "mesh": MeshConfig(data=1),
        "steps": STEPS,
        "batch_size": KNOWN_PHOTOS,
    }
    return SetPredictionTraining(**{**given, **changes})


@pytest.mark.slow
@pytest.mark.long
def test_it_learns_eight_photos_by_heart(tmp_path):
    """Panoptic quality of at least 0.85, every mask a thing of one class."""
    prepare(str(PHOTOS), tmp_path / "records", split="train")
    config = training(str(tmp_path / "records"))
    mesh, blueprint, state, _ = learn(config)
    with jax.set_mesh(mesh):
        validate = config.validator(blueprint.model, mesh)
        assert validate is not None
        row, sheet = validate(state, STEPS)
    print(f"{row} after {STEPS} steps")
    assert row["pq"] >= 0.85
    assert row["photos"] == KNOWN_PHOTOS
    assert sheet["val_segments"].size


def test_more_slots_than_queries_are_refused():
    with pytest.raises(UserError, match="slots is 25, but the model has 24 queries"):
        training("x", data=SegmentSetDataConfig(source="x", slots=25))


def test_parts_of_a_batch_are_refused():
    with pytest.raises(UserError, match="accumulate is not for sets"):
        training("x", accumulate=2)


def of_classes(source: str, *, grouping=Grouping.PANOPTIC, **model) -> SetPredictionTraining:
    return training(
        source,
        model=dataclasses.replace(TINY, **{"classes": 2, **model}),
        data=SegmentSetDataConfig(source=source, slots=24, grouping=grouping),
        validation=ValidationConfig(),
    )


TABLE = ClassTable(
    classes=(SegmentClass(name="sky", values=(0,)), SegmentClass(name="tree", values=(1,), thing=True)), ignore=(255,)
)


def test_the_model_learns_names_and_what_can_be_counted_from_the_records(records_of):
    source = records_of(TABLE)
    model = of_classes(source).complete().model
    assert (model.class_names, model.things) == (("sky", "tree"), (False, True))
    assert of_classes(source, grouping=Grouping.SEMANTIC).complete().model.things == (False, False)
    assert training("x").complete().model.class_names == ("object",)


def test_classes_that_are_not_the_records_are_refused(records_of):
    source = records_of(TABLE)
    with pytest.raises(UserError, match=r"has 2 classes, model\.classes is 3: give --model.classes 2"):
        of_classes(source, classes=3).complete()
    with pytest.raises(UserError, match=r"model\.class_names are not those of .*: leave them out"):
        of_classes(source, class_names=("tree", "sky")).complete()
    with pytest.raises(UserError, match=r"makes every mask a thing of one class, but model\.classes is 2: give 1"):
        training("x", model=dataclasses.replace(TINY, classes=2)).complete()
