"""Segmentation by sets: every query learns to find one segment, its class and its mask."""

from dataclasses import field

from jaxtyping import Array, Float

from samjax.core.batches import SegmentSetBatch
from samjax.core.errors import UserError
from samjax.core.ranges import config_class
from samjax.data.segments.segment_set_data import SegmentSetDataConfig, SegmentSetExamples
from samjax.data.stream.data_config import DataConfig
from samjax.losses.set_loss import Segments, SetLossConfig, set_loss
from samjax.models.query_masks.mask2former import Mask2Former, Mask2FormerConfig
from samjax.tasks.dense_training import rows_of
from samjax.training.config import Metrics, StepKeys, TrainConfig


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

    def objective(
        self, model: Mask2Former, batch: SegmentSetBatch, *, keys: StepKeys
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return the loss of all predictions, before the first layer and after each, of the batch's segments."""
        rows = rows_of(batch, keys)
        said = model(batch.image, batch.valid_size, key=keys.model, rows=rows)
        segments = Segments(classes=batch.classes, map=batch.segment_map)
        loss, parts = set_loss(
            said.class_logits, said.embeddings, said.mask_map, segments, self.loss, key=keys.task, rows=rows
        )
        return loss, {"loss": loss, **{f"loss_{name}": part for name, part in parts.items()}}

    def examples(self, data: DataConfig, *, augment: bool) -> SegmentSetExamples:
        """Return what makes photos with segments rows of a batch."""
        assert isinstance(data, SegmentSetDataConfig)
        return SegmentSetExamples(data, image_size=self.model.image_size, classes=self.model.classes, augment=augment)
