"""What a run of semantic segmentation takes from its records, and what its objective counts."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.tiny_dense import tiny_dense

from samjax.core.batches import SegmentBatch
from samjax.core.errors import UserError
from samjax.data.classes.class_table import ClassTable, SegmentClass
from samjax.data.records.segments import CLASSES
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.data.stream.data_config import MixedSourceConfig
from samjax.losses.pixel_cross_entropy import PixelLossConfig
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.models.heads.head import HeadOutput
from samjax.models.heads.mask_transformer import MaskTransformerConfig
from samjax.tasks.semantic import SemanticTraining
from samjax.training.config import StepKeys, ValidationConfig

COLOURS = ((1, 2, 3), (4, 5, 6))


def table(*names: str, colours=(None, None, None)) -> ClassTable:
    classes = tuple(
        SegmentClass(name=name, values=(value,), colour=colour)
        for value, (name, colour) in enumerate(zip(names, colours, strict=False))
    )
    return ClassTable(classes=classes, ignore=(255,))


def run(source: str, *, validation: str = "", classes: int = 2, **model) -> SemanticTraining:
    return SemanticTraining(
        model=tiny_dense(classes=classes, **model),
        data=SegmentDataConfig(source=source),
        validation=ValidationConfig(source=validation, split="train"),
        steps=1,
        batch_size=2,
    )


def test_the_model_learns_the_classes_names_and_colours_from_the_records(records_of):
    model = run(records_of(table("sky", "tree", colours=COLOURS))).complete().model
    assert (model.class_names, model.class_colours) == (("sky", "tree"), COLOURS)
    plain = run(records_of(table("sky", "tree"))).complete()
    assert (plain.model.class_names, plain.model.class_colours) == (("sky", "tree"), ())
    assert plain.complete() == plain
    masks = dataclasses.replace(plain, data=SegmentDataConfig(source="x", of_masks=True), model=tiny_dense(classes=2))
    assert masks.complete().model.class_names == ("background", "object")


def test_two_classes_of_a_norm_over_classes_are_refused(records_of):
    """Of two numbers a norm leaves the sign of their difference: the loss does not depend on the parameters."""
    head = MaskTransformerConfig(depth=1, head_channels=16)
    two = run(records_of(table("sky", "tree")), head=head)
    with pytest.raises(
        UserError, match=r"model\.classes is 2, of which MaskTransformerConfig learns nothing.* least 3"
    ):
        two.complete()
    three = run(records_of(table("a", "b", "c")), classes=3, head=head).complete()
    masks = dataclasses.replace(three, data=SegmentDataConfig(source="x", of_masks=True))
    masks = dataclasses.replace(masks, model=dataclasses.replace(masks.model, class_names=()))
    assert masks.complete().model.class_names == ("background", "object", "nothing")
    four = dataclasses.replace(masks, model=dataclasses.replace(masks.model, classes=4))
    with pytest.raises(UserError, match=r"give 3, of which no pixel has the last"):
        four.complete()


def test_records_of_other_classes_are_refused(records_of):
    two, other, three = (records_of(table(*names)) for names in (("sky", "tree"), ("sky", "car"), ("a", "b", "c")))
    with pytest.raises(UserError, match=r"has 3 classes, model\.classes is 2: give --model\.classes 3"):
        run(three).complete()
    with pytest.raises(UserError, match=r"has other classes than .*: prepare both with one table"):
        run(two, validation=other).complete()
    mixed = SegmentDataConfig(source=two, mixed_in=(MixedSourceConfig(source=other),))
    with pytest.raises(UserError, match=r"sky_car\w* has other classes than .*: prepare both with one table"):
        dataclasses.replace(run(two), data=mixed).complete()
    with pytest.raises(UserError, match=r"model\.class_names are not those of"):
        run(other, class_names=("sky", "tree")).complete()
    of_masks = dataclasses.replace(run(two, classes=3), data=SegmentDataConfig(source="x", of_masks=True))
    with pytest.raises(UserError, match=r"of_masks makes two classes.*model\.classes is 3: give 2"):
        of_masks.complete()


def test_records_of_one_class_are_refused(records_of):
    """model.classes 1 would be refused too."""
    with pytest.raises(UserError, match="has one class, so there is nothing to tell it from: prepare it with a second"):
        run(records_of(ClassTable(classes=(SegmentClass(name="tree", values=(1,)),), ignore=(0, 255)))).complete()


@pytest.mark.parametrize(("size", "said"), [((64, 96), ""), ((64, 72), "no multiples of 32, .* give 64 x 96")])
def test_frames_that_lose_rows_are_a_warning_with_the_next_good_size(size, said, records_of, caplog):
    run(records_of(table("sky", "tree")), image_size=size).complete()
    assert re.search(said, caplog.text) if said else not caplog.text


def test_records_that_lost_their_table_are_refused(records_of):
    source = records_of(table("sky", "boat"))
    path = f"{source}/{CLASSES}"
    with open(path) as file:
        content = json.load(file)
    with open(path, "w") as file:
        file.write(json.dumps({**content, "classes": []}))
    with pytest.raises(UserError, match="the table has 0 classes"):
        run(source).complete()


def test_one_class_other_weights_and_depth_are_refused():
    with pytest.raises(UserError, match=r"the model has one class, .* at least 2 model\.classes"):
        run("x", classes=1)
    with pytest.raises(UserError, match="has 3 numbers, but the model has 2 classes"):
        dataclasses.replace(run("x"), loss=PixelLossConfig(class_weights=(1.0, 1.0, 1.0)))
    depth = DenseConfig.dpt_base_depth()
    with pytest.raises(UserError, match="the model gives depth"):
        dataclasses.replace(run("x"), model=depth)


class FixedLogits(DenseModel):
    """Gives the same logits for every photo, and an auxiliary head's."""

    def __init__(self, config: DenseConfig, logits, auxiliary):
        self.config, self.main, self.auxiliary = config, nnx.Param(logits), nnx.Param(auxiliary)

    def __call__(self, image, valid_size=None, *, key=None, rows=None):
        main, auxiliary = (jnp.broadcast_to(one[...], (len(image), *one.shape)) for one in (self.main, self.auxiliary))
        return HeadOutput(logits=main, auxiliary=(auxiliary,))


def test_pixels_beyond_the_photo_and_without_a_class_count_for_nothing():
    """Two photos, one of them half padding, one row without a photo; against a restatement pixel by pixel."""
    draw = np.random.default_rng(0)
    config = dataclasses.replace(run("x"), loss=PixelLossConfig(auxiliary_weight=0.5))
    logits, auxiliary = (
        draw.normal(size=(64, 64, 2)).astype(np.float32),
        draw.normal(size=(64, 64, 2)).astype(np.float32),
    )
    labels = draw.integers(-1, 2, (3, 64, 64)).astype(np.int16)
    sizes = np.array([[64, 64], [40, 30], [0, 0]], np.int32)
    batch = SegmentBatch(
        image=jnp.zeros((3, 64, 64, 3), jnp.uint8),
        valid_size=jnp.asarray(sizes),
        labels=jnp.asarray(labels),
        record_id=jnp.array([4, 7, -1], jnp.int32),
    )
    keys = StepKeys(model=jax.random.key(0), task=jax.random.key(0))
    loss, metrics = config.objective(FixedLogits(config.model, logits, auxiliary), batch, keys=keys)

    def mean(logits) -> float:
        losses = np.log(np.exp(logits).sum(-1))[..., None] - logits
        counted = [
            losses[row, column, labels[photo, row, column]]
            for photo, (height, width) in enumerate(sizes)
            for row in range(height)
            for column in range(width)
            if labels[photo, row, column] >= 0
        ]
        assert float(config.weight(batch)) == len(counted)
        return float(np.mean(counted))

    assert float(metrics["loss_pixels"]) == pytest.approx(mean(logits), rel=1e-5)
    assert float(metrics["loss_auxiliary"]) == pytest.approx(mean(auxiliary), rel=1e-5)
    assert float(loss) == pytest.approx(mean(logits) + 0.5 * mean(auxiliary), rel=1e-5)
