"""Masked images (MAE, He et al. 2022): a photo's hidden patches, predicted from the few that are shown."""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from samjax.core.batches import PhotoBatch
from samjax.core.random import draw_rows
from samjax.core.ranges import config_class
from samjax.data.photo_data import PhotoDataConfig, PhotoExamples
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import NO_RECORD
from samjax.models.mae import Mae, MaeConfig
from samjax.models.mae_flops import mae_flops
from samjax.parallel.sharding import replicated
from samjax.tasks.reconstruction import FIGURES, ReconstructionValidator
from samjax.training.config import Metrics, StepKeys, TrainConfig
from samjax.training.validation import Better, Validator


@config_class("")
class MaskedImageTraining(TrainConfig):
    """Pretraining of a masked autoencoder on photos alone."""

    model: MaeConfig = field(default_factory=MaeConfig)
    """Sizes of the model."""
    data: PhotoDataConfig
    """Photos to train on."""

    def objective(self, model: Mae, batch: PhotoBatch, *, keys: StepKeys) -> tuple[Float[Array, ""], Metrics]:
        """Hide most of each photo, predict it; return the mean squared error over the hidden patches of the batch."""
        photos, tokens = len(batch.image), self.model.tokens
        noise = draw_rows(lambda photos: jax.random.uniform(keys.task, (photos, tokens)), photos, keys.rows)
        output = model(batch.image, noise, key=keys.model, rows=keys.rows)
        valid = batch.record_id != NO_RECORD
        loss = model.loss(output.predictions, model.targets(batch.image), output.hidden, valid=valid)
        return loss, {"loss": loss}

    def examples(self, data: DataConfig, *, augment: bool) -> PhotoExamples:
        """Return what makes photos rows of a batch."""
        assert isinstance(data, PhotoDataConfig)
        return PhotoExamples(data, image_size=self.model.image_size, augment=augment)

    def validation_figures(self) -> Mapping[str, Better]:
        """Return the loss on held-out photos, of which less is better."""
        return FIGURES

    def validator(self, merge: Callable[[Any, Any], Any], mesh: Mesh) -> Validator | None:
        """Return the reconstruction of held-out photos, None without any."""
        if not self.validation.source:
            return None
        return ReconstructionValidator(
            merge,
            self.model,
            batches=lambda: self.validation_batches(mesh),
            sheet_rows=self.validation.sheet_rows,
            replicated=replicated(mesh),
        )

    def flops(self) -> int | None:
        """Return the least FLOPs that training on one photo takes; None for a part of the model."""
        return mae_flops(self.model).training if self.trains_everything else None
