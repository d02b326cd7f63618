"""Every object of a photo, without a prompt (Segment Anything, section 4 and appendix B)."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, UInt8

from samjax.core.errors import UserError
from samjax.core.sizes import power_of_two
from samjax.predict.automatic.candidate_programs import add_to, choose_from, draw_from, new_pool
from samjax.predict.automatic.candidates import Choice, ChosenLogits, Pool, Window, filters_of
from samjax.predict.automatic.conclusion import conclude
from samjax.predict.automatic.crops import Crop, crops_of, point_grid
from samjax.predict.automatic.generated_mask import GeneratedMask, Highest
from samjax.predict.automatic.generator_config import CANDIDATES, GeneratorConfig
from samjax.predict.automatic.run_lengths import encode_words
from samjax.predict.automatic.tiles import tilings
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_input import as_photos, fit_photo, to_frame
from samjax.predict.promptable.restore import resize_plans

_FIRST_SLOTS = 256
"""Candidates that a crop's pool has slots for at first. Where a crop needs more its batch is decoded again, once, with
a power of two that suffices, which batches after it begin with."""

_DRAWN = 32
"""Masks of a crop drawn at once: 14 MB of a photo of SA-1B."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """One crop of one photo."""

    photo: int
    crop: Crop


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The candidates of a batch of crops."""

    points: list[np.ndarray]
    fitted_sizes: np.ndarray
    window: Window
    pool: Pool
    choice: Choice
    """On the host."""


class MaskGenerator:
    """Finds the objects of photos with the model of `engine`, `batch_size` crops at a time, split over its mesh.

    `batch_size` is the number of ways the mesh splits a batch if it is not given. `slots` are those of a crop's
    candidates at first: what is known to be needed saves compiling programs for less.

    Raises:
      UserError: the mesh cannot split such a batch.
    """

    def __init__(
        self,
        engine: Engine,
        config: GeneratorConfig | None = None,
        *,
        batch_size: int | None = None,
        slots: int = _FIRST_SLOTS,
    ):
        self.engine, self.config = engine, config or GeneratorConfig()
        self.batch_size = engine.ways if batch_size is None else batch_size
        if self.batch_size < 1 or self.batch_size % engine.ways:
            raise UserError(
                f"batch size {batch_size} cannot be split over {engine.ways} devices: give a multiple of {engine.ways}"
            )
        self._slots = slots
        self.highest: list[Highest] = []
        """Of each photo that `generate` was last given: why one has no mask."""

    def generate(self, photos) -> list[list[GeneratedMask]]:
        """Return the masks of each photo, in the order of the published algorithm.

        With as many photos as a batch holds, no device waits for work.

        Args:
          photos: any number of any sizes, as `samjax.predict.promptable.photo_input.as_photos` takes them.

        Raises:
          UserError: one is no photo; the message says which.
        """
        photos = as_photos(photos)
        found: list[list[list[GeneratedMask]]] = [[] for _ in photos]
        highest = np.full((len(photos), 2), -np.inf)
        for layer in range(self.config.crop_layers + 1):
            for of_photo, more in zip(found, self._look(photos, layer, highest), strict=True):
                of_photo += more
        self.highest = [
            Highest(iou=iou, stability=stability if np.isfinite(stability) else None)
            for iou, stability in highest.tolist()
        ]
        return [conclude(of_crops, self.config) for of_crops in found]

    def look(self, photos: Sequence[UInt8[np.ndarray, "_ _ 3"]], layer: int) -> list[list[list[GeneratedMask]]]:
        """Return the masks of each crop of `layer`, of each photo: `generate` compares those of crops and cleans them.

        Crops are in the order of `crops_of`; a crop's masks come by descending predicted IoU.
        """
        return self._look(photos, layer, np.full((len(photos), 2), -np.inf))

    def _look(self, photos: Sequence[np.ndarray], layer: int, highest: np.ndarray) -> list[list[list[GeneratedMask]]]:
        """See `look`; `highest` is raised to each photo's highest predicted IoU and stability."""
        looks = [
            _Look(photo=number, crop=crop)
            for number, photo in enumerate(photos)
            for crop in crops_of(
                height=photo.shape[0], width=photo.shape[1], layers=layer, overlap=self.config.crop_overlap
            )
            if crop.layer == layer
        ]
        found: list[list[list[GeneratedMask]]] = [[] for _ in photos]
        for start in range(0, len(looks), self.batch_size):
            batch = looks[start : start + self.batch_size]
            candidates = self._find(batch, photos)
            for row, (look, masks) in enumerate(zip(batch, self._masks(batch, photos, candidates), strict=True)):
                found[look.photo].append(masks)
                highest[look.photo] = np.maximum(highest[look.photo], candidates.choice.highest[row])
        return found

    def chosen_logits(self, photos: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> ChosenLogits:
        """Return, on the devices, what `generate` makes masks of: of up to a batch of photos, each looked at whole."""
        looks = [
            _Look(photo=number, crop=Crop(layer=0, x0=0, y0=0, x1=photo.shape[1], y1=photo.shape[0]))
            for number, photo in enumerate(photos)
        ]
        found = self._find(looks, photos)
        sizes = [(photo.shape[0], photo.shape[1]) for photo in photos] + [(1, 1)] * (self.batch_size - len(photos))
        resize = resize_plans(
            sizes,
            low=self.engine.config.logits_size,
            frame=self.engine.config.image_size,
            fitted=[(int(height), int(width)) for height, width in found.fitted_sizes],
        )
        parts = (found.choice.slot, found.choice.count, np.array(sizes, np.int32), resize)
        slot, count, size, resize = self.engine.split(parts)
        return ChosenLogits(logits=found.pool.logits, slot=slot, count=count, size=size, resize=resize)

    def _find(self, looks: list[_Look], photos: Sequence[np.ndarray]) -> _Found:
        frame = self.engine.config.image_size
        images = np.zeros((self.batch_size, *frame, 3), np.uint8)
        fitted = np.ones((self.batch_size, 2), np.int32)
        for row, look in enumerate(looks):
            crop = look.crop
            images[row], fitted[row] = fit_photo(photos[look.photo][crop.y0 : crop.y1, crop.x0 : crop.x1], frame)
        embedding = self.engine.encode(images, fitted)
        points = [self._points(look.crop) for look in looks]
        coords = np.zeros((self.batch_size, *points[0].shape), np.float32)
        for row, (look, of_crop) in enumerate(zip(looks, points, strict=True)):
            size = (look.crop.height, look.crop.width)
            coords[row] = to_frame(of_crop, photo=size, fitted=tuple(fitted[row].tolist()))
        window = self._window(looks, fitted, photos)
        pool, chosen = self._candidates(embedding, coords, np.arange(self.batch_size) < len(looks), window)
        return _Found(points=points, fitted_sizes=fitted, window=window, pool=pool, choice=chosen)

    def _points(self, crop: Crop) -> Float[np.ndarray, "n 2"]:
        """Return the grid's points in pixels of the crop."""
        return point_grid(self.config.points_in(crop.layer)) * np.array([crop.width, crop.height])

    def _window(self, looks: list[_Look], fitted: np.ndarray, photos: Sequence[np.ndarray]) -> Window:
        """Return where the crops lie; the rows that fill up a batch are of one pixel."""
        empty = self.batch_size - len(looks)
        sizes = [(look.crop.height, look.crop.width) for look in looks]
        boxes = [look.crop.box for look in looks]
        whole = [(0, 0, photos[look.photo].shape[1], photos[look.photo].shape[0]) for look in looks]
        window = Window(
            box=np.array(boxes + [(0, 0, 1, 1)] * empty, np.int32),  # type: ignore[arg-type]
            photo=np.array(whole + [(0, 0, 1, 1)] * empty, np.int32),  # type: ignore[arg-type]
            tiling=tilings(
                sizes + [(1, 1)] * empty,
                low=self.engine.config.logits_size,
                frame=self.engine.config.image_size,
                fitted=[(int(height), int(width)) for height, width in fitted],
            ),
        )
        return self.engine.split(window)

    def _candidates(
        self, embedding: Array, coords: Float32[np.ndarray, "b n 2"], there: Bool[np.ndarray, "b"], window: Window
    ) -> tuple[Pool, Choice]:
        """Return the pool of candidates that pass the filters, and on the host which of them suppression leaves."""
        mesh, at_once, total = self.engine.mesh, self.config.points_per_batch, coords.shape[1]
        per_point = self.config.masks_per_point
        filters = filters_of(self.config)
        while True:
            pool = new_pool(mesh, crops=len(coords), slots=self._slots, logits_size=self.engine.config.logits_size)
            for start in range(0, total, at_once):
                part = coords[:, start : start + at_once]
                missing = at_once - part.shape[1]
                valid = there[:, None] & (np.arange(at_once) < part.shape[1])
                part = self.engine.split(np.pad(part, ((0, 0), (0, missing), (0, 0))))
                output = self.engine.decode_points(embedding, part, multimask=per_point == CANDIDATES)
                valid, first = self.engine.split((valid, np.full(len(coords), start, np.int32)))
                pool = add_to(pool, output.logits, output.iou, valid, first, window, filters, mesh=mesh)
            chosen = jax.device_get(choose_from(pool, mesh=mesh, threshold=self.config.box_nms_threshold))
            most = int(chosen.candidates.max())
            if most <= self._slots:
                return pool, chosen
            self._slots = min(power_of_two(most), power_of_two(total * per_point))

    def _masks(self, looks: list[_Look], photos: Sequence[np.ndarray], candidates: _Found) -> list[list[GeneratedMask]]:
        """Return the chosen masks of each of up to a batch of crops of one layer, by descending predicted IoU.

        They are drawn a few at a time.
        """
        points, chosen = candidates.points, candidates.choice
        pool, tiling = candidates.pool, candidates.window.tiling
        found: list[list[GeneratedMask]] = [[] for _ in looks]
        slots = np.pad(chosen.slot, ((0, 0), (0, _DRAWN)))
        for start in range(0, int(chosen.count.max()), _DRAWN):
            part, left = slots[:, start : start + _DRAWN], np.maximum(chosen.count - start, 0)
            part, left = self.engine.split((part, left))
            drawn = np.asarray(draw_from(pool.logits, part, left, tiling, mesh=self.engine.mesh))
            for row, (look, masks) in enumerate(zip(looks, found, strict=True)):
                crop, photo = look.crop, photos[look.photo].shape[:2]
                for place in range(start, min(start + _DRAWN, int(chosen.count[row]))):
                    box = tuple(chosen.box[row, place].tolist())
                    x, y = points[row][chosen.source[row, place] // self.config.masks_per_point].tolist()
                    masks.append(
                        GeneratedMask(
                            segmentation=encode_words(drawn[row, place - start], box=box, crop=crop, photo=photo),
                            area=int(chosen.area[row, place]),
                            box=(box[0] + crop.x0, box[1] + crop.y0, box[2] + crop.x0, box[3] + crop.y0),
                            predicted_iou=float(chosen.iou[row, place]),
                            stability_score=float(chosen.stability[row, place]),
                            point=(x + crop.x0, y + crop.y0),
                            crop_box=crop.box,
                        )
                    )
        return found
