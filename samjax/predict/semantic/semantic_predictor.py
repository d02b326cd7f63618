"""A class for every pixel of a photo of any size, from Python."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Float32, Int16, UInt8
from PIL import Image

from samjax.core.errors import UserError
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.interpolate import Method, matrix
from samjax.pictures.class_map import class_colours
from samjax.pictures.colours import Colour
from samjax.predict.promptable.photo_input import as_photos
from samjax.predict.semantic.bands import bands, cut
from samjax.predict.semantic.dense_engine import DenseEngine
from samjax.predict.semantic.semantic_config import SemanticPredictionConfig, Windows
from samjax.predict.semantic.window_plan import window_corners

MULTIPLE = 32
"""Sides of whole photos are rounded to multiples of it: reduced attention would lose rows of others."""
_WINDOWS_AT_ONCE = 4
"""Sliding windows per device and batch."""
_TILE = 64
"""Side of the squares of a photo that are classified at a time."""
DEFAULTS = SemanticPredictionConfig()


class _Shown(NamedTuple):
    """A photo as the model sees it."""

    photo: int
    """Its place."""
    pixels: UInt8[np.ndarray, "h w 3"]
    mirrored: bool


@dataclass(frozen=True, kw_only=True)
class _View:
    """One scaled, perhaps mirrored photo's logits, and how its pixels become those of the photo itself."""

    logits: Float32[np.ndarray, "h w classes"]
    rows: Float32[np.ndarray, "photo_h h"]
    columns: Float32[np.ndarray, "photo_w w"]


class SemanticPredictor:
    """A trained model that classifies the pixels of photos.

        predictor = SemanticPredictor.from_checkpoint("runs/segformer")
        classes = predictor.predict(photo)            # [h, w], numbers of `predictor.names`

    As published codebases test: logits are brought to the photo's resolution bilinearly, then made probabilities, which
    are averaged over scales and mirrored photos.
    """

    def __init__(self, engine: DenseEngine, config: SemanticPredictionConfig = DEFAULTS):
        if engine.config.head.GIVES_DEPTH:
            raise UserError("this model gives depth, not classes: use DepthPredictor, or samjax segment")
        self._engine, self.settings = engine, config
        fixed = engine.config.encoder.fixed_size
        self._windows = config.windows or (Windows.SLIDING if fixed else Windows.WHOLE)
        if fixed and self._windows is Windows.WHOLE:
            raise UserError(
                "this model has tables of positions for its frame, so it cannot see photos of other sizes whole: "
                "give --windows sliding"
            )

        if config.stride is not None and config.stride > min(engine.config.image_size):
            height, width = engine.config.image_size
            raise UserError(
                f"stride is {config.stride}, more than a window of {height} x {width}: pixels between windows would "
                "have no class"
            )

    @classmethod
    def from_checkpoint(
        cls,
        path: epath.PathLike,
        config: SemanticPredictionConfig = DEFAULTS,
        *,
        mesh: Mesh | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        average: bool = True,
    ) -> "SemanticPredictor":
        """Return a predictor with the weights at `path`: a run's workdir, one of its checkpoints, or imported weights.

        Raises:
          UserError: there is no checkpoint, or it is not that of a dense prediction model.
        """
        return cls(DenseEngine.from_checkpoint(path, mesh=mesh, dtype=dtype, average=average), config)

    @property
    def config(self) -> DenseConfig:
        """The model's."""
        return self._engine.config

    @property
    def ways(self) -> int:
        """How many photos the devices take at a time."""
        return self._engine.ways

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names; their numbers where nobody knows them."""
        return self.config.class_names or tuple(str(number) for number in range(self.config.classes))

    @property
    def colours(self) -> tuple[Colour, ...]:
        """The classes' colours."""
        return class_colours(self.config.class_colours or [None] * self.config.classes)

    def predict(self, photo) -> Int16[np.ndarray, "h w"]:
        """Return the class of each pixel of a photo: an RGB array of any size, a picture of PIL's or a path.

        Raises:
          UserError: it is no photo.
        """
        return self.predict_each([photo])[0]

    def predict_each(self, photos: Sequence) -> list[Int16[np.ndarray, "h w"]]:
        """Return the classes of several photos, as `predict` does; a mesh sees those of one size together."""
        pixels = as_photos(photos)
        shown = [one for place, photo in enumerate(pixels) for one in self._show(place, photo)]
        views: list[list[_View]] = [[] for _ in pixels]
        for one, logits in zip(shown, self._logits([one.pixels for one in shown]), strict=True):
            views[one.photo].append(self._view(logits, one, photo=_size(pixels[one.photo])))
        return [self._combine(own, _size(photo)) for own, photo in zip(views, pixels, strict=True)]

    def _show(self, place: int, photo: UInt8[np.ndarray, "h w 3"]) -> Iterator[_Shown]:
        """Yield the photo, the one at `place`, at each scale, mirrored or not."""
        for scale in self.settings.scales:
            height, width = self._shown_size(_size(photo), scale)
            scaled = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR))
            yield _Shown(photo=place, pixels=scaled, mirrored=False)
            if self.settings.flip:
                yield _Shown(photo=place, pixels=np.ascontiguousarray(scaled[:, ::-1]), mirrored=True)

    def _logits(self, shown: list[UInt8[np.ndarray, "_ _ 3"]]) -> list[Float32[np.ndarray, "_ _ classes"]]:
        """Return the logits of each picture: of windows at its own size, else at the head's resolution."""
        if self._windows is Windows.SLIDING:
            return [self._slide(one) for one in shown]
        found: dict[int, Float32[np.ndarray, "_ _ classes"]] = {}
        same: dict[tuple[int, int], list[int]] = {}
        for place, one in enumerate(shown):
            same.setdefault(_size(one), []).append(place)
        for size, places in same.items():
            for first in range(0, len(places), self._engine.ways):
                part = places[first : first + self._engine.ways]
                sizes = np.array([size] * len(part), np.int32)
                logits = self._engine.logits(np.stack([shown[place] for place in part]), sizes, enlarge=False)
                found |= dict(zip(part, logits, strict=True))
        return [found[place] for place in range(len(shown))]

    def _shown_size(self, photo: tuple[int, int], scale: float) -> tuple[int, int]:
        """Return the (height, width) that a photo is shown at."""
        short = min(self.config.image_size)
        longest, shortest = self.settings.fit or (4 * short, short)
        factor = scale * min(longest / max(photo), shortest / min(photo))
        if self._windows is Windows.SLIDING:
            return max(1, round(photo[0] * factor)), max(1, round(photo[1] * factor))
        height, width = (max(1, round(side * factor / MULTIPLE)) * MULTIPLE for side in photo)
        return height, width

    def _slide(self, photo: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w classes"]:
        """Return the mean logits of all windows on each pixel; each window is computed once."""
        (height, width), window = _size(photo), self.config.image_size
        corners = window_corners((height, width), window, self.settings.stride)
        total = np.zeros((height, width, self.config.classes), np.float32)
        covered = np.zeros((height, width, 1), np.float32)
        at_once = _WINDOWS_AT_ONCE * self._engine.ways
        for first in range(0, len(corners), at_once):
            part = corners[first : first + at_once]
            # Batches of one shape: the last is filled up with empty windows.
            frames = np.zeros((min(at_once, len(corners)), *window, 3), np.uint8)
            sizes = np.ones((len(frames), 2), np.int32)
            for place, (top, left) in enumerate(part):
                cut = photo[top : top + window[0], left : left + window[1]]
                frames[place, : cut.shape[0], : cut.shape[1]], sizes[place] = cut, cut.shape[:2]
            logits = self._engine.logits(frames, sizes, enlarge=True)
            for place, (top, left) in enumerate(part):
                bottom, right = top + int(sizes[place, 0]), left + int(sizes[place, 1])
                total[top:bottom, left:right] += logits[place, : bottom - top, : right - left]
                covered[top:bottom, left:right] += 1
        return total / covered

    def _view(self, logits: Float32[np.ndarray, "gh gw classes"], shown: _Shown, *, photo: tuple[int, int]) -> _View:
        """Return logits with the matrices that enlarge them to the shown size, then bring them to the photo's."""
        aligned = self.config.head.ALIGN_CORNERS
        along = []
        for grid, seen, own in zip(logits.shape[:2], shown.pixels.shape[:2], photo, strict=True):
            enlarge = matrix(grid, seen, method=Method.BILINEAR, align_corners=aligned)
            along.append((matrix(seen, own, method=Method.BILINEAR) @ enlarge).astype(np.float32))
        rows, columns = along
        # A mirrored photo's logits are mirrored back where they have the photo's own width.
        return _View(logits=logits, rows=rows, columns=columns[::-1] if shown.mirrored else columns)

    def _combine(self, views: list[_View], size: tuple[int, int]) -> Int16[np.ndarray, "h w"]:
        """Return the likeliest class of each pixel, a tile at a time, from the logits that its pixels mix."""
        height, width = size
        rows = [bands(view.rows, _TILE) for view in views]
        columns = [bands(view.columns, _TILE) for view in views]
        classes = np.zeros(size, np.int16)
        for down in range(len(rows[0])):
            for across in range(len(columns[0])):
                parts = [
                    (cut(view.logits, one[down], two[across]), one[down].weights, two[across].weights)
                    for view, one, two in zip(views, rows, columns, strict=True)
                ]
                top, left = down * _TILE, across * _TILE
                bottom, right = min(top + _TILE, height), min(left + _TILE, width)
                found = self._engine.classify(*map(list, zip(*parts, strict=True)))
                classes[top:bottom, left:right] = found[: bottom - top, : right - left]
        return classes


def _size(photo: UInt8[np.ndarray, "h w 3"]) -> tuple[int, int]:
    return photo.shape[0], photo.shape[1]
