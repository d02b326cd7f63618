"""Promptable segmentation (Segment Anything, section 3 and appendix A): masks for points, boxes and earlier masks."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Annotated, Any

from jax.sharding import Mesh
from jaxtyping import Array, Float

from samjax.checkpoint.weights import Weights
from samjax.core.batches import Batch, unpack_masks
from samjax.core.errors import UserError
from samjax.core.prompts import MaskOutput
from samjax.core.ranges import Count, Range, config_class
from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
from samjax.data.stream.data_config import DataConfig
from samjax.losses.sam_loss import LossConfig, RoundLoss, loss_pixels, loss_target, round_loss, sam_loss
from samjax.models.mae import MaeConfig
from samjax.models.sam.flops import photo_flops
from samjax.models.sam.from_vit import encoder_from_vit, vit_arrays
from samjax.models.sam.sam import Sam, SamConfig
from samjax.parallel.sharding import replicated
from samjax.prompting.interactive import InteractionConfig, interact
from samjax.prompting.rounds import Interaction
from samjax.tasks.click_validation import ClickValidator, figures
from samjax.train.config import Metrics, StepKeys, TrainConfig, ValidationConfig
from samjax.train.validation import Better, Validator


@config_class("validation")
class ClickValidationConfig(ValidationConfig):
    """Validation by clicks on held-out photos during training, and a sheet of example pictures."""

    max_masks: Count = 16
    """At most this many masks per photo, the same ones each time."""
    min_area_fraction: Annotated[
        float, Range(at_least=0, below=0.9, why="it is a share of the photo, and masks over 0.9 are never used")
    ] = 0.0
    """Exclude masks that cover less than this share of the photo."""
    clicks: tuple[Count, ...] = (1, 2, 3, 5, 8)
    """Numbers of clicks after which to report the mIoU, ascending."""

    def __post_init__(self):
        if not self.clicks or list(self.clicks) != sorted(set(self.clicks)):
            raise UserError(f"validation.clicks are {self.clicks}; give ascending numbers, such as 1 2 3 5 8")


@config_class("")
class PromptableTraining(TrainConfig):
    """Pretraining of a Segment Anything model by a simulated annotator."""

    model: SamConfig = field(default_factory=SamConfig)
    """Sizes of the model."""
    data: MaskDataConfig
    """Photos with masks to train on."""
    prompting: InteractionConfig = field(default_factory=InteractionConfig)
    """The simulated annotator."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the loss."""
    validation: ClickValidationConfig = field(default_factory=ClickValidationConfig)
    """Clicks on held-out photos."""

    def objective(self, model: Sam, batch: Batch, *, keys: StepKeys) -> tuple[Float[Array, ""], Metrics]:
        """Run every round of the annotator; return the loss, averaged over the batch's valid masks, and its terms."""
        return sam_loss(self.play(model, batch, keys=keys).observations, batch.mask_valid, self.loss)

    def play(self, model: Sam, batch: Batch, *, keys: StepKeys) -> Interaction:
        """Encode the photos once and run every round; each round is observed as its `RoundLoss`."""
        masks = unpack_masks(batch.masks, self.model.image_size[1])
        target = loss_target(masks, self.loss.loss_size)
        pixels = loss_pixels(batch.valid_size, image_size=self.model.image_size, loss_size=self.loss.loss_size)
        embedding = model.encode(batch.image, batch.valid_size, key=keys.model)

        def observe(output: MaskOutput, _: Any) -> RoundLoss:
            return round_loss(output, target, pixels, self.loss)

        return interact(
            model.decoder(embedding),
            observe,
            masks=masks,
            valid_size=batch.valid_size,
            logits_size=self.model.logits_size,
            key=keys.task,
            config=self.prompting,
        )

    def starting_models(self) -> tuple[type, ...]:
        """Return Segment Anything and masked autoencoders."""
        return SamConfig, MaeConfig

    def convert_weights(self, weights: Weights, model: MaeConfig) -> Weights:
        """Return the image encoder of a masked autoencoder; neck, prompt encoder and decoder stay fresh.

        Patch embedding and positions are resized to this model's.

        Raises:
          UserError: the encoder has another width, depth, number of heads or MLP.
        """
        name = f"init_from: {weights.path}"
        theirs, ours = model.encoder, self.model.image_encoder
        for size in ("width", "depth", "heads", "mlp_ratio"):
            if getattr(theirs, size) != getattr(ours, size):
                raise UserError(
                    f"{name} holds an encoder whose {size} is {getattr(theirs, size)}, but this run's is "
                    f"{getattr(ours, size)}; give a masked autoencoder of this size, or train a model of its size"
                )
        arrays = vit_arrays(weights.params["encoder"], position=weights.buffers["encoder"]["position"])
        try:
            fitted = encoder_from_vit(arrays, self.model)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        return dataclasses.replace(weights, params=fitted.params, buffers={}, notes=fitted.changes)

    def examples(self, data: DataConfig, *, augment: bool) -> MaskExamples:
        """Return what makes photos with masks rows of a batch."""
        assert isinstance(data, MaskDataConfig)
        return MaskExamples(data, image_size=self.model.image_size, augment=augment)

    def validation_data(self) -> MaskDataConfig:
        """Return the held-out photos, with the validation's own bounds on masks."""
        validation = self.validation
        return MaskDataConfig(
            source=validation.source,
            split=validation.split,
            max_masks=validation.max_masks,
            min_area_fraction=validation.min_area_fraction,
        )

    def validation_figures(self) -> Mapping[str, Better]:
        """Return the mean IoUs, of which more is better."""
        return dict.fromkeys(figures(self.validation.clicks), Better.HIGHER)

    def validator(self, merge: Callable[[Any, Any], Any], mesh: Mesh) -> Validator | None:
        """Return clicks through the held-out photos, None without any."""
        if not self.validation.source:
            return None
        return ClickValidator(
            merge,
            self.model,
            batches=lambda: self.validation_batches(mesh),
            clicks=self.validation.clicks,
            sheet_rows=self.validation.sheet_rows,
            replicated=replicated(mesh),
        )

    def flops(self) -> int:
        """Return the least FLOPs that training on one photo takes, all mask slots filled."""
        return photo_flops(self.model, masks=self.data.max_masks, rounds=self.prompting.rounds).training
