"""What all tasks of dense prediction share: the model, what it may start from, and the rows of a step."""

from dataclasses import field, replace
from typing import Any

from samjax.checkpoint.weights import Weights
from samjax.core.random import Rows
from samjax.core.ranges import config_class
from samjax.data.stream.example import NO_RECORD
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.mae import MaeConfig
from samjax.tasks.starting_backbone import backbone_of_vit, dense_of_dense, differs, has_other_vit
from samjax.training.config import StepKeys, TrainConfig


@config_class("")
class DenseTraining(TrainConfig):
    """Training of a dense prediction model; its subclasses are the tasks."""

    model: DenseConfig = field(default_factory=DenseConfig)
    """Sizes of the model."""

    def starting_models(self) -> tuple[type, ...]:
        """Return dense prediction models and masked autoencoders."""
        return DenseConfig, MaeConfig

    def must_convert(self, model: DenseConfig | MaeConfig) -> bool:
        """Return whether it is a masked autoencoder, or has other classes, another frame, window or kind of ViT."""
        return not isinstance(model, DenseConfig) or differs(model, self.model) or has_other_vit(model, self.model)

    def convert_weights(self, weights: Weights, model: DenseConfig | MaeConfig) -> Weights:
        """Return weights for this model's classes, frame and windows; of a masked autoencoder, or a model with another
        kind of ViT, the ViT alone.

        Raises:
          UserError: the backbone cannot be that ViT, or has other sizes.
        """
        if isinstance(model, DenseConfig) and not has_other_vit(model, self.model):
            return dense_of_dense(weights, model, self.model)
        return backbone_of_vit(weights, model, self.model)


def rows_of(batch: Any, keys: StepKeys) -> Rows:
    """Return which rows of the whole batch these are, and which of them hold a photo."""
    present = batch.record_id != NO_RECORD
    return Rows.every(present) if keys.rows is None else replace(keys.rows, present=present)
