"""Segmentation by sets: every query learns to find one segment, its class and its mask."""

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, Float

from samjax.core.batches import SegmentSetBatch
from samjax.core.errors import UserError
from samjax.core.ranges import config_class
from samjax.data.classes.record_classes import agreed_classes
from samjax.data.segments.segment_set_data import Grouping, SegmentSetDataConfig, SegmentSetExamples
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import NO_RECORD
from samjax.losses.set_loss import Segments, SetLossConfig, set_loss
from samjax.models.query_masks.mask2former import Mask2Former, Mask2FormerConfig
from samjax.parallel.sharding import replicated
from samjax.tasks.dense_training import rows_of
from samjax.tasks.set_validation import FIGURES, SetValidator
from samjax.training.config import Metrics, StepKeys, TrainConfig
from samjax.training.validation import Better, Validator


@config_class("")
class SetPredictionTraining(TrainConfig):
    """Training of a model of queries on photos with segments: panoptic, instances, or a class for every pixel."""

    model: Mask2FormerConfig = field(default_factory=Mask2FormerConfig)
    """Sizes of the model."""
    data: SegmentSetDataConfig
    """Photos with segments to train on."""
    loss: SetLossConfig = field(default_factory=SetLossConfig)
    """How queries are matched to segments, and what they lose."""

    def __post_init__(self):
        super().__post_init__()
        queries = self.model.decoder.queries
        if self.data.slots > queries:
            raise UserError(
                f"data.slots is {self.data.slots}, but the model has {queries} queries, each for one segment: give "
                f"--data.slots {queries}, or more --model.decoder.queries"
            )
        if self.accumulate > 1:
            raise UserError(
                "accumulate is not for sets: a loss is divided by the number of the whole batch's segments, which a "
                "part of it does not know"
            )

    def complete(self) -> "SetPredictionTraining":
        """Return the run with its classes' names, and which can be counted, as its records have them.

        Raises:
          UserError: they have other classes than the model, or than the held-out records.
        """
        if self.data.of_masks:
            if self.model.classes != 1:
                raise UserError(
                    f"data.of_masks makes every mask a thing of one class, but model.classes is {self.model.classes}: "
                    "give 1"
                )
            return replace(self, model=replace(self.model, class_names=self.model.class_names or ("object",)))
        model = self.model
        table = agreed_classes(self.data, self.validation.source, classes=model.classes, names=model.class_names)
        is_semantic = self.data.grouping is Grouping.SEMANTIC
        things = tuple(one.thing and not is_semantic for one in table.classes)
        return replace(self, model=replace(model, class_names=table.names, class_things=things))

    def objective(
        self, model: Mask2Former, batch: SegmentSetBatch, *, keys: StepKeys
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return the loss of all predictions, before the first layer and after each, of the batch's segments."""
        rows = rows_of(batch, keys)
        said = model(batch.image, batch.valid_size, key=keys.model, rows=rows)
        present = batch.record_id != NO_RECORD
        segments = Segments(classes=batch.classes, map=batch.segment_map, present=present)
        loss, parts = set_loss(
            said.class_logits, said.embeddings, said.mask_map, segments, self.loss, key=keys.task, rows=rows
        )
        return loss, {"loss": loss, **{f"loss_{name}": part for name, part in parts.items()}}

    def examples(self, data: DataConfig, *, augment: bool) -> SegmentSetExamples:
        """Return what makes photos with segments rows of a batch."""
        assert isinstance(data, SegmentSetDataConfig)
        return SegmentSetExamples(data, image_size=self.model.image_size, classes=self.model.classes, augment=augment)

    def validation_figures(self) -> Mapping[str, Better]:
        """Return panoptic quality and its two factors, of which more is better."""
        return FIGURES

    def validator(self, merge: Callable[[Any, Any], Any], mesh: Mesh) -> Validator | None:
        """Return the scores of held-out photos, None without any."""
        if not self.validation.source:
            return None
        return SetValidator(
            merge,
            config=self.model,
            batches=lambda: self.validation_batches(mesh),
            sheet_rows=self.validation.sheet_rows,
            replicated=replicated(mesh),
        )
