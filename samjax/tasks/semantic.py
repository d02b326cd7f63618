"""Semantic segmentation: a class for every pixel, learnt by cross-entropy."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from samjax.core.batches import SegmentBatch, counted_pixels
from samjax.core.distributed import is_lead
from samjax.core.errors import UserError
from samjax.core.ranges import config_class
from samjax.data.classes.record_classes import agreed_classes
from samjax.data.segments.segment_data import SegmentDataConfig, SegmentExamples
from samjax.data.stream.data_config import DataConfig
from samjax.losses.pixel_cross_entropy import PixelLossConfig, enlarged_pixel_losses, mean_pixel_loss
from samjax.models.dense_prediction.dense_model import DenseModel
from samjax.parallel.sharding import replicated
from samjax.tasks.dense_training import DenseTraining, rows_of
from samjax.tasks.semantic_validation import FIGURES, SemanticValidator
from samjax.training.config import Metrics, StepKeys
from samjax.training.validation import Better, Validator

log = logging.getLogger(__name__)


@config_class("")
class SemanticTraining(DenseTraining):
    """Training of a dense prediction model on photos with the class of every pixel."""

    data: SegmentDataConfig
    """Photos with classes to train on."""
    loss: PixelLossConfig = field(default_factory=PixelLossConfig)
    """The cross-entropy."""

    def __post_init__(self):
        super().__post_init__()
        if self.model.classes < 2:
            what = "gives depth" if self.model.head.GIVES_DEPTH else "has one class"
            raise UserError(
                f"the model {what}, so cross-entropy would teach it nothing: give a head of classes, and at least 2 "
                "model.classes, such as background and object"
            )
        self.loss.check_classes(self.model.classes)

    def complete(self) -> "SemanticTraining":
        """Return the run with its classes' names and colours, as its records have them.

        A frame of which the backbone loses rows is a warning.

        Raises:
          UserError: they have other classes than the model, or than the held-out records; or too few for the head.
        """
        self._tell_lost_rows()
        least = self.model.head.LEAST_CLASSES
        if self.model.classes < least:
            raise UserError(
                f"model.classes is {self.model.classes}, of which {type(self.model.head).__name__} learns nothing: its "
                f"norm over the classes leaves only which is largest. Give at least {least}, or another head, such as "
                "LinearConfig"
            )
        if self.data.of_masks and self.model.classes != least:
            third = "" if least == 2 else ", of which no pixel has the last: its head needs so many"
            raise UserError(
                f"data.of_masks makes two classes, no mask and mask, but model.classes is {self.model.classes}: give "
                f"{least}{third}"
            )
        if self.data.of_masks:
            return self if self.model.class_names else self._named(("background", "object", "nothing")[:least], ())
        model = self.model
        table = agreed_classes(
            self.data, self.validation.source, classes=model.classes, names=model.class_names, least=2
        )
        colours = tuple(one.colour for one in table.classes)
        return self._named(table.names, colours if all(colours) else ())

    def _tell_lost_rows(self) -> None:
        (height, width), multiple = self.model.image_size, self.model.encoder.lossless_multiple
        whole = [-(-side // multiple) * multiple for side in (height, width)]
        if whole != [height, width] and is_lead():
            log.warning(
                "model.image_size is %d x %d: attention leaves out the last rows or columns of sides that are no "
                "multiples of %d, which costs accuracy; give %d x %d.",
                *(height, width, multiple, *whole),
            )

    def _named(self, names: tuple[str, ...], colours: tuple[Any, ...]) -> "SemanticTraining":
        return replace(self, model=replace(self.model, class_names=names, class_colours=colours))

    def objective(self, model: DenseModel, batch: SegmentBatch, *, keys: StepKeys) -> tuple[Float[Array, ""], Metrics]:
        """Return the mean cross-entropy of the batch's pixels, at the labels' resolution, auxiliary heads' added."""
        output = model(batch.image, batch.valid_size, key=keys.model, rows=rows_of(batch, keys))
        counted, size = counted_pixels(batch), (batch.labels.shape[1], batch.labels.shape[2])

        def mean_loss(logits: Float[Array, "b _ _ classes"]) -> Float[Array, ""]:
            rows, columns = model.enlargement((logits.shape[1], logits.shape[2]), size)
            losses = enlarged_pixel_losses(logits, batch.labels, counted, rows=rows, columns=columns)
            return mean_pixel_loss(losses, batch.labels, counted, self.loss)

        main = mean_loss(output.logits)
        metrics = {"loss": main, "loss_pixels": main}
        if output.auxiliary:
            auxiliary = jnp.stack([mean_loss(logits) for logits in output.auxiliary]).sum()
            metrics["loss_auxiliary"] = auxiliary
            metrics["loss"] = main + self.loss.auxiliary_weight * auxiliary
        return metrics["loss"], metrics

    def weight(self, batch: SegmentBatch) -> Float[Array, ""]:
        """Return the number of pixels that count, over which the loss is averaged."""
        return jnp.sum(counted_pixels(batch), dtype=jnp.float32)

    def examples(self, data: DataConfig, *, augment: bool) -> SegmentExamples:
        """Return what makes photos with classes rows of a batch."""
        assert isinstance(data, SegmentDataConfig)
        return SegmentExamples(data, image_size=self.model.image_size, classes=self.model.classes, augment=augment)

    def validation_figures(self) -> Mapping[str, Better]:
        """Return mIoU and pixel accuracy, of which more is better, and the loss."""
        return FIGURES

    def validator(self, merge: Callable[[Any, Any], Any], mesh: Mesh) -> Validator | None:
        """Return the scores of held-out photos, None without any."""
        if not self.validation.source:
            return None
        return SemanticValidator(
            merge,
            classes=self.model.classes,
            batches=lambda: self.validation_batches(mesh),
            sheet_rows=self.validation.sheet_rows,
            replicated=replicated(mesh),
        )
