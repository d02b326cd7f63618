"""Masks for prompts on photos of any size, from Python."""

import threading
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float32

from samjax.core.errors import UserError
from samjax.core.prompts import MaskOutput
from samjax.core.sizes import power_of_two
from samjax.data.masks.packing import fitted_size
from samjax.models.sam.sam import SamConfig
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_input import as_photos, fit_photo
from samjax.predict.promptable.photo_masks import in_a_row, unpack_masks
from samjax.predict.promptable.prompt_arrays import PhotoPrompts, no_prompts, photo_prompts, stack_photos
from samjax.predict.promptable.restore import Resize, resize_plans


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """k masks for each of m objects in one photo: three candidates per object, or one."""

    masks: Bool[np.ndarray, "m k h w"]
    """At the photo's size."""
    iou: Float32[np.ndarray, "m k"]
    """The model's estimate of each mask's IoU with the intended object."""
    logits: Float32[np.ndarray, "m k low_h low_w"]
    """Of the frame, at the decoder's resolution; `mask_logits` of a further prediction takes one for each object."""


@dataclass(frozen=True, kw_only=True)
class LogitsPrediction:
    """A `Prediction` before its masks are brought to the photo's size."""

    iou: Float32[np.ndarray, "m k"]
    logits: Float32[np.ndarray, "m k low_h low_w"]


class Predictor:
    """A trained model that answers prompts on photos it has been given.

        predictor = Predictor.from_checkpoint("runs/vit_b")
        predictor.set_image(photo)
        answer = predictor.predict(points=[[[x, y]]], labels=[[1]])

    A photo is encoded once, for all prompts on it. Programs are compiled for numbers of photos, objects and prompts
    rounded up to powers of two, and for photo sizes rounded up to multiples of 256, not for each call.

    Threads may call one predictor: calls wait for each other, and the photos are those that any thread set last.
    Threads with photos of their own share an `Engine`, which holds weights and programs, and make a predictor each.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self._lock = threading.RLock()
        self._photos: list[tuple[int, int]] = []
        self._fitted: list[tuple[int, int]] = []
        self._embedding: Array | None = None
        self._plans: Resize | None = None

    @classmethod
    def from_checkpoint(
        cls,
        path: epath.PathLike,
        *,
        mesh: Mesh | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        average: bool = True,
    ) -> "Predictor":
        """Return a predictor with the weights at `path`: a run's workdir, one of its checkpoints, or imported weights.

        Args:
          mesh: devices that photos are split over; all of this machine's by default.
          dtype: precision of the computation. Parameters, positions, softmax and masks are always float32.
          average: take the moving average of parameters where the run kept one; False takes the last step's.

        Raises:
          UserError: there is no checkpoint, or it is not that of a complete Segment Anything model.
        """
        return cls(Engine.from_checkpoint(path, mesh=mesh, dtype=dtype, average=average))

    @property
    def config(self) -> SamConfig:
        """The model's."""
        return self._engine.config

    def set_image(self, image) -> None:
        """Encode the photo that `predict` answers for: an RGB array of any size, a picture of PIL's or a path."""
        self.set_images([image])

    def set_images(self, images) -> None:
        """Encode the photos that `predict_each` answers for, of any sizes, split over the mesh.

        Args:
          images: as `samjax.predict.promptable.photo_input.as_photos` takes them.

        Raises:
          UserError: there are none, or one is no photo; the message says which.
        """
        images = as_photos(images)
        if not images:
            raise UserError("there are no images to set; give at least one")
        engine, config = self._engine, self.config
        count = _rounded_up(len(images), engine.ways)
        frames = np.zeros((count, *config.image_size, 3), np.uint8)
        sizes = np.ones((count, 2), np.int32)
        for index, image in enumerate(images):
            frames[index], sizes[index] = fit_photo(image, config.image_size)
        with self._lock:
            self._embedding = engine.encode(frames, sizes)
            self._photos = [(image.shape[0], image.shape[1]) for image in images]
            self._fitted = [(int(height), int(width)) for height, width in sizes[: len(images)]]
            self._plans = None  # made when a mask is asked for

    def set_embedding(self, embedding: Float32[np.ndarray, "gh gw c"], *, photo: tuple[int, int]) -> None:
        """Set a photo of (h, w) pixels that an engine with the same weights has encoded: `predict` answers for it.

        Raises:
          ValueError: the embedding is not of the model's shape.
        """
        engine, config = self._engine, self.config
        if embedding.shape != (*config.grid, config.embedding):
            raise ValueError(f"an embedding of shape {embedding.shape} for {(*config.grid, config.embedding)}")
        stacked = np.zeros((engine.ways, *embedding.shape), np.float32)
        stacked[0] = embedding
        with self._lock:
            self._embedding = engine.split(stacked)
            self._photos = [photo]
            self._fitted = [fitted_size(height=photo[0], width=photo[1], frame=config.image_size)]
            self._plans = None

    def predict(self, *, points=None, labels=None, boxes=None, mask_logits=None, multimask: bool = True) -> Prediction:
        """Return masks for m objects in the one photo that is set. An object's prompts are taken together.

            answer = predictor.predict(points=[[[9, 5]], [[30, 8], [33, 9]]], labels=[[1], [1, 0]])  # two objects
            answer = predictor.predict(points=[[[9, 5]], None], labels=[[1], None], boxes=[None, [4, 4, 20, 30]])

        Args:
          points: (m, p, 2), p points for each object, (x, y) in pixels of the photo. In a list objects may have
            different numbers of points, and None stands for none.
          labels: (m, p), 1 for a point on the object, 0 for one beside it.
          boxes: (m, 4), a box each: x0, y0, x1, y1 in pixels of the photo. In a list None stands for no box.
          mask_logits: (m, low_h, low_w), of an earlier `Prediction`.
          multimask: three candidates an object, which a single point or box leaves open; else one mask.

        Raises:
          UserError: no photo or several are set, or a prompt is invalid; the message says which.
        """
        given = {"points": points, "labels": labels, "boxes": boxes, "mask_logits": mask_logits}
        with self._lock:
            embedding = self._require_one_photo()
            return self._answer(embedding, [self._prompts(0, given)], multimask=multimask)[0]

    def predict_logits(
        self, *, points=None, labels=None, boxes=None, mask_logits=None, multimask: bool = True
    ) -> LogitsPrediction:
        """Return what `predict` returns, without the masks, which take most of its time on a large photo.

        `restore_masks` makes them later, equal to those of `predict` bit for bit.
        """
        given = {"points": points, "labels": labels, "boxes": boxes, "mask_logits": mask_logits}
        with self._lock:
            embedding = self._require_one_photo()
            prompts = self._prompts(0, given)
            output = self._decode(embedding, [prompts], multimask=multimask)
        m = prompts.labels.shape[0]
        iou, logits = jax.device_get((output.iou, output.logits))
        return LogitsPrediction(iou=np.asarray(iou[0, :m], np.float32), logits=np.asarray(logits[0, :m]))

    def predict_each(
        self, *, points=None, labels=None, boxes=None, mask_logits=None, multimask: bool = True
    ) -> list[Prediction]:
        """Return masks for the photos that are set, one `Prediction` each.

        As `predict`, with an entry a photo in each argument: an array with a leading axis of photos, or a list whose
        entries need not have the same number of objects. A photo whose entries are all None or empty has no objects,
        and its prediction no masks.

        Raises:
          UserError: as `predict`, with the number of the photo.
        """
        each = {"points": points, "labels": labels, "boxes": boxes, "mask_logits": mask_logits}
        with self._lock:
            embedding = self._require_embedding()
            if all(value is None for value in each.values()):
                raise UserError("there is no prompt: give points with labels, boxes or mask_logits")
            for name, value in each.items():
                if value is not None and len(value) != len(self._photos):
                    raise UserError(f"{name} has {len(value)} entries, but {len(self._photos)} images are set")
            asked = []
            for index in range(len(self._photos)):
                entries = {name: None if value is None else value[index] for name, value in each.items()}
                try:
                    is_empty = all(entry is None or len(entry) == 0 for entry in entries.values())
                    asked.append(no_prompts() if is_empty else self._prompts(index, entries))
                except UserError as error:
                    raise UserError(f"image {index}: {error}") from error
            return self._answer(embedding, asked, multimask=multimask)

    def _require_embedding(self) -> Array:
        if self._embedding is None:
            raise UserError("no image is set: call set_image or set_images first")
        return self._embedding

    def _require_one_photo(self) -> Array:
        embedding = self._require_embedding()
        if len(self._photos) > 1:
            raise UserError(f"{len(self._photos)} images are set: ask predict_each, with prompts for each of them")
        return embedding

    def _prompts(self, index: int, entries: dict[str, Any]) -> PhotoPrompts:
        """Return the prompts of one photo that is set."""
        return photo_prompts(
            **entries,
            photo=self._photos[index],
            fitted=self._fitted[index],
            logits_size=self.config.logits_size,
        )

    def _decode(self, embedding: Array, asked: list[PhotoPrompts], *, multimask: bool) -> MaskOutput:
        """Return the decoder's answer to the prompts of all photos, on the devices, its logits in float32."""
        prompts = stack_photos(
            asked,
            images=embedding.shape[0],
            objects=power_of_two(max(photo.labels.shape[0] for photo in asked)),
            slots=power_of_two(max(photo.labels.shape[1] for photo in asked)),
            logits_size=self.config.logits_size,
        )
        masked = any(photo.mask_logits is not None for photo in asked)
        output = self._engine.decode(embedding, prompts, multimask=multimask, masked=masked)
        return MaskOutput(logits=output.logits.astype(jnp.float32), iou=output.iou)

    def _answer(self, embedding: Array, asked: list[PhotoPrompts], *, multimask: bool) -> list[Prediction]:
        output = self._decode(embedding, asked, multimask=multimask)
        if self._plans is None:
            self._plans = self._resize_plans(embedding.shape[0])
        packed = self._engine.restore(in_a_row(output.logits), self._plans)
        packed, iou, logits = jax.device_get((packed, output.iou, output.logits))
        answers = []
        for b, (photo, size) in enumerate(zip(asked, self._photos, strict=True)):
            m = photo.labels.shape[0]
            answers.append(
                Prediction(
                    masks=unpack_masks(packed[b], objects=m, kinds=iou.shape[2], photo=size),
                    iou=np.asarray(iou[b, :m], np.float32),
                    logits=np.asarray(logits[b, :m]),
                )
            )
        return answers

    def _resize_plans(self, count: int) -> Resize:
        """Return all photos' plans, the first one's again for those that fill up a batch of `count`."""
        missing = count - len(self._photos)
        return self._engine.split(
            resize_plans(
                [*self._photos, *[self._photos[0]] * missing],
                low=self.config.logits_size,
                frame=self.config.image_size,
                fitted=[*self._fitted, *[self._fitted[0]] * missing],
            )
        )


def _rounded_up(count: int, ways: int) -> int:
    """Return a number of photos that splits `ways` ways: that many times a power of two."""
    return ways * power_of_two(-(-count // ways))
