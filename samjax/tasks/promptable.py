"""Promptable segmentation (Segment Anything, section 3 and appendix A): masks for points, boxes and earlier masks."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Float32, Int, UInt8, UInt32

from samjax.checkpoint.weights import Weights
from samjax.core.batches import Batch, unpack_masks
from samjax.core.errors import UserError
from samjax.core.random import keys_of_masks
from samjax.core.ranges import Count, Range, config_class
from samjax.core.struct import struct
from samjax.data.masks.embedding_rows import EmbeddingExamples
from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
from samjax.data.stream.data_config import DataConfig
from samjax.losses.sam_loss import (
    LossConfig,
    RoundLoss,
    loss_pixels,
    loss_target,
    mask_count,
    round_loss,
    sam_loss,
    summed_loss,
)
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.mae import MaeConfig
from samjax.models.sam.flops import photo_flops
from samjax.models.sam.grouping import Grouping, best_grouping
from samjax.models.sam.sam import Prompting, Sam, SamConfig
from samjax.parallel.sharding import platform, replicated
from samjax.prompting.interactive import InteractionConfig, interact
from samjax.tasks.click_validation import ClickValidator, figures
from samjax.tasks.embedding_filling import EmbeddingFilling, check_cacheable, open_cache, photo_sets
from samjax.tasks.frozen_encoder import frozen_embedding, what_trains
from samjax.tasks.mask_groups import play_in_groups
from samjax.tasks.starting_encoder import encoder_of_vit, frame_tables, sam_in_frame
from samjax.training.config import Metrics, StepKeys, TrainConfig, ValidationConfig
from samjax.training.validation import Better, Validator


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


@struct
class PlayedMasks:
    """What became of each mask: the losses of its rounds, and its prompts, as `Prompts` has them."""

    rounds: RoundLoss
    coords: Float[Array, "b m slots 2"]
    labels: Int[Array, "b m slots"]


@struct
class _Slots:
    """Masks to play, with the randomness of each."""

    masks: UInt8[Array, "b m h packed_w"]
    valid: Bool[Array, "b m"]
    key_data: UInt32[Array, "b m words"]


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
    masks_at_once: Count | None = None
    """Masks that a device decodes together, all rounds and their gradient, before it takes the next; None chooses by
    platform and model. Changes memory and speed, and no result but for rounding."""
    recompute_rounds: bool | None = None
    """Decode every round again in the backward pass, which stores less and computes more; None chooses by platform."""
    cache_embeddings: str = ""
    """Folder where the photos' embeddings are kept, so that each photo is encoded once. Needs an image encoder that
    does not train, and photos without augmentation; empty encodes them at every step."""

    def __post_init__(self):
        super().__post_init__()
        slots = self.data.max_masks * self.batch_size
        if self.masks_at_once is not None and self.masks_at_once > slots:
            raise UserError(
                f"masks_at_once is {self.masks_at_once}, but a batch has {slots} slots for masks (batch_size x "
                f"data.max_masks): give at most that, or leave it out"
            )

    def objective(self, model: Sam, batch: Batch, *, keys: StepKeys) -> tuple[Float[Array, ""], Metrics]:
        """Run every round of the annotator; return the loss, averaged over the batch's valid masks, and its terms.

        The gradient is computed along with it, for a group of masks at a time: see `mask_groups`.
        """
        return self.play(model, batch, keys=keys)[:2]

    def weight(self, batch: Batch) -> Float[Array, ""]:
        """Return the number of valid masks, over which the loss is averaged."""
        return jnp.sum(batch.mask_valid, dtype=jnp.float32)

    def play(self, model: Sam, batch: Batch, *, keys: StepKeys) -> tuple[Float[Array, ""], Metrics, PlayedMasks]:
        """Return what `objective` does, and what became of each mask."""
        embedding = self.embed(model, batch, keys=keys)
        played, slope = self._play_masks(model.prompting, embedding, batch, keys=keys)
        loss, metrics = sam_loss(played.rounds, batch.mask_valid, self.loss)
        return loss + slope, metrics, played

    def embed(self, model: Sam, batch: Batch, *, keys: StepKeys | None = None) -> Float[Array, "b gh gw c"]:
        """Return the photos' embeddings; `keys` turns drop path on where the encoder trains."""
        if batch.embedding is not None:
            return batch.embedding
        assert batch.image is not None
        if not what_trains(self.model, self.trainable, self.adapters):
            return frozen_embedding(model, batch.image, batch.valid_size)
        noise = {} if keys is None else {"key": keys.model, "rows": keys.rows}
        return model.encode(batch.image, batch.valid_size, **noise)

    def _play_masks(
        self, prompting: Prompting, embedding: Float[Array, "b gh gw c"], batch: Batch, *, keys: StepKeys
    ) -> tuple[PlayedMasks, Float32[Array, ""]]:
        """Run every round on the photos' embeddings; return the losses, and a zero with the loss's derivative."""

        def play(
            prompting: Prompting, embedding: Float[Array, "p gh gw c"], valid_size: Int[Array, "p 2"], slots: _Slots
        ):
            masks = unpack_masks(slots.masks, self.model.image_size[1])
            target = loss_target(masks, self.loss.loss_size)
            pixels = loss_pixels(valid_size, image_size=self.model.image_size, loss_size=self.loss.loss_size)
            interaction = interact(
                prompting.decoder(embedding),
                lambda output, _: round_loss(output, target, pixels, self.loss),
                masks=masks,
                valid_size=valid_size,
                logits_size=self.model.logits_size,
                keys=jax.random.wrap_key_data(slots.key_data, impl=jax.random.key_impl(keys.task)),
                config=self.prompting,
                recompute=chosen.recompute_rounds,
            )
            rounds, prompts = interaction.observations, interaction.prompts
            observed = (jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), rounds), prompts.coords, prompts.labels)
            return summed_loss(rounds, slots.valid, self.loss), observed

        chosen = self.grouping(platform())
        (rounds, coords, labels), slope = play_in_groups(
            play,
            prompting,
            embedding,
            batch.valid_size,
            _Slots(
                masks=batch.masks,
                valid=batch.mask_valid,
                key_data=jax.random.key_data(keys_of_masks(keys.task, *batch.mask_valid.shape, rows=keys.rows)),
            ),
            valid=batch.mask_valid,
            at_once=chosen.masks_at_once,
            divisor=mask_count(batch.mask_valid),
        )
        rounds = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), rounds)
        return PlayedMasks(rounds=rounds, coords=coords, labels=labels), slope

    def grouping(self, platform: str) -> Grouping:
        """Return how a device of `platform` plays its masks: as the run says, else as is best there."""
        best = best_grouping(self.model, platform)
        slots = self.data.max_masks * self.batch_size
        return Grouping(
            masks_at_once=min(best.masks_at_once, slots) if self.masks_at_once is None else self.masks_at_once,
            recompute_rounds=best.recompute_rounds if self.recompute_rounds is None else self.recompute_rounds,
        )

    def choices(self, platform: str) -> Mapping[str, str]:
        """Return the group of masks and whether rounds are computed again."""
        chosen, slots = self.grouping(platform), self.data.max_masks
        at_once = chosen.masks_at_once
        if at_once < slots:
            padded = "" if slots % at_once == 0 else f", padded to {-(-slots // at_once) * at_once}"
            of = f"of a photo's {slots} slots{padded}"
        else:
            of = f"those of up to {at_once // slots} photos"
        return {
            "masks at once": f"{at_once}, {of}",
            "rounds": "computed again in the backward pass"
            if chosen.recompute_rounds
            else "kept for the backward pass",
        }

    def starting_models(self) -> tuple[type, ...]:
        """Return Segment Anything, masked autoencoders, and dense prediction models, for their plain ViT."""
        return SamConfig, MaeConfig, DenseConfig

    def must_convert(self, model: SamConfig | MaeConfig | DenseConfig) -> bool:
        """Return whether it is another kind of model, or made for another frame, patch, window or scale of places."""
        if not isinstance(model, SamConfig):
            return True
        return frame_tables(model) != frame_tables(self.model)

    def convert_weights(self, weights: Weights, model: SamConfig | MaeConfig | DenseConfig) -> Weights:
        """Return weights for this model's frame; of other kinds of models their plain ViT alone: the rest stays fresh.

        Patch embedding and position tables are resized, the frequencies of places scaled as `position_scale` is. The
        rest of a Segment Anything model knows no frame.

        Raises:
          UserError: the encoder has another width, depth, number of heads or MLP.
        """
        if isinstance(model, SamConfig):
            return sam_in_frame(weights, model, self.model)
        return encoder_of_vit(weights, model, self.model)

    def examples(self, data: DataConfig, *, augment: bool) -> MaskExamples:
        """Return what makes photos with masks rows of a batch, with their embeddings if there is a cache of them.

        Raises:
          UserError: there is a cache, and the encoder trains or photos are augmented.
        """
        assert isinstance(data, MaskDataConfig)
        if self.cache_embeddings:
            check_cacheable(self.data, what_trains(self.model, self.trainable, self.adapters))
            cache = open_cache(self.cache_embeddings, self.model)
            return EmbeddingExamples(data, image_size=self.model.image_size, cache=cache, pixels=not augment)
        return MaskExamples(data, image_size=self.model.image_size, augment=augment)

    def caches(self) -> EmbeddingFilling | None:
        """Return what fills the cache of embeddings with the photos of training and validation, None without one."""
        if not self.cache_embeddings:
            return None
        validation = self.validation_data() if self.validation.source else None
        return EmbeddingFilling(
            cache=open_cache(self.cache_embeddings, self.model),
            model=self.model,
            sets=photo_sets(self.data, validation, limit=self.validation.photos),
            threads=self.data.threads,
        )

    def without_caches(self) -> "PromptableTraining":
        """Return the run that encodes its photos at every step."""
        return dataclasses.replace(self, cache_embeddings="") if self.cache_embeddings else self

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
            embed=self.embed,
            batches=lambda: self.validation_batches(mesh),
            clicks=self.validation.clicks,
            sheet_rows=self.validation.sheet_rows,
            replicated=replicated(mesh),
        )

    def flops(self) -> int | None:
        """Return the least FLOPs that training on one photo takes, all mask slots filled; None if frozen in part."""
        if not self.trains_everything:
            return None
        return photo_flops(self.model, masks=self.data.max_masks, rounds=self.prompting.rounds).training
