"""Depth from a single photo: inverse depth up to scale and shift, learnt of measured depth or disparities."""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Annotated, Any

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32

from samjax.core.batches import DepthBatch, known_pixels
from samjax.core.errors import UserError
from samjax.core.ranges import Range, config_class
from samjax.data.depth_data import DepthDataConfig, DepthExamples
from samjax.data.stream.data_config import DataConfig
from samjax.losses.inverse_depth import DepthLossConfig, depth_loss
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.parallel.sharding import replicated
from samjax.scores.depth_errors import DepthProtocol
from samjax.tasks.dense_training import DenseTraining, rows_of
from samjax.tasks.depth_validation import FIGURES, DepthValidator
from samjax.training.config import Metrics, StepKeys, ValidationConfig
from samjax.training.validation import Better, Validator


@config_class("validation")
class DepthValidationConfig(ValidationConfig):
    """Validation on held-out photos with depth during training, and a sheet of example pictures."""

    farthest: Annotated[float, Range(above=1e-3, why="it is a distance, and nearer than 1 mm nothing is scored")] = 80.0
    """Metres from which on nothing is scored: 80 on the road, 10 indoors."""


@config_class("")
class DepthTraining(DenseTraining):
    """Training of a model for depth on photos with depth, by the loss of MiDaS and DPT."""

    model: DenseConfig = field(default_factory=DenseConfig.dpt_large_depth)
    """Sizes of the model, whose head gives depth."""
    data: DepthDataConfig
    """Photos with depth to train on."""
    loss: DepthLossConfig = field(default_factory=DepthLossConfig)
    """How inverse depths are compared."""
    validation: DepthValidationConfig = field(default_factory=DepthValidationConfig)
    """Validation on held-out photos."""

    def __post_init__(self):
        super().__post_init__()
        if not self.model.head.GIVES_DEPTH:
            raise UserError(
                "model.head gives classes, not depth: give a head for depth, as DenseConfig.dpt_large_depth() has it"
            )

    def objective(self, model: DenseModel, batch: DepthBatch, *, keys: StepKeys) -> tuple[Float[Array, ""], Metrics]:
        """Return the mean loss of the photos with a known pixel, at the depths' resolution."""
        output = model(batch.image, batch.valid_size, key=keys.model, rows=rows_of(batch, keys))
        inverse = model.enlarge(output.logits, (batch.image.shape[1], batch.image.shape[2]))[..., 0]
        return depth_loss(inverse, batch.inverse_depth, known_pixels(batch), self.loss)

    def weight(self, batch: DepthBatch) -> Float32[Array, ""]:
        """Return the number of photos with a known pixel, over which the loss is averaged."""
        return jnp.sum(known_pixels(batch).any(axis=(1, 2)), dtype=jnp.float32)

    def examples(self, data: DataConfig, *, augment: bool) -> DepthExamples:
        """Return what makes photos with depth rows of a batch."""
        assert isinstance(data, DepthDataConfig)
        return DepthExamples(data, image_size=self.model.image_size, augment=augment)

    def validation_figures(self) -> Mapping[str, Better]:
        """Return delta1, of which more is better, and AbsRel, RMSE and the loss."""
        return FIGURES

    def validator(self, merge: Callable[[Any, Any], Any], mesh: Mesh) -> Validator | None:
        """Return the scores of held-out photos, None without any."""
        if not self.validation.source:
            return None
        return DepthValidator(
            merge,
            protocol=DepthProtocol(farthest=self.validation.farthest),
            loss=self.loss,
            batches=lambda: self.validation_batches(mesh),
            sheet_rows=self.validation.sheet_rows,
            replicated=replicated(mesh),
        )
