"""The candidates of annotated photos, decoded once, and which objects each overlaps: what a search needs."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from samjax.core.errors import UserError
from samjax.core.sizes import power_of_two
from samjax.data.annotations.dataset import Photo
from samjax.eval.tuning.grids import Grid, Layer
from samjax.predict.automatic.generator import MaskGenerator
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.replay import Candidates, every_candidate
from samjax.predict.engine import Engine
from samjax.scores.single_iou import PhotoOverlaps
from samjax.scores.truth import Truth


@dataclass(frozen=True, kw_only=True)
class PhotoCandidates:
    """The candidates of one photo by one grid, and the objects that they overlap."""

    photo: int
    candidates: Candidates
    overlaps: PhotoOverlaps


@dataclass(kw_only=True)
class CandidateStore:
    """The candidates of photos, by photo and layer; a layer that two grids have is decoded once.

    What is kept is about 0.4 MB for a photo and a grid of 32 x 32 points. Photos are read a batch at a time.
    """

    engine: Engine
    config: GeneratorConfig
    """Everything but grid and thresholds."""
    truth: Truth
    """Class-agnostic."""
    batch_size: int | None = None
    _found: dict[tuple[int, Layer], tuple[Candidates, PhotoOverlaps]] = field(default_factory=dict)
    _generators: dict[Layer, MaskGenerator] = field(default_factory=dict)

    def missing(self, photos: Sequence[Photo], layers: Collection[Layer]) -> list[Photo]:
        """Return the photos of which some of `layers` is not decoded."""
        return [photo for photo in photos if any((photo.id, layer) not in self._found for layer in layers)]

    def decode(self, photos: Sequence[Photo], layers: Collection[Layer], *, watch: Callable[[int], None]) -> None:
        """Decode what is missing of `layers` on `photos`; `watch` is told how many photos are done, when some are.

        Raises:
          UserError: a photo cannot be read.
        """
        todo = self.missing(photos, layers)
        for layer in layers:
            if layer not in self._generators:
                every = every_candidate(layer.config(self.config))
                slots = power_of_two(layer.points_per_side**2 * every.masks_per_point)
                self._generators[layer] = MaskGenerator(self.engine, every, batch_size=self.batch_size, slots=slots)
        at_once = next(iter(self._generators.values())).batch_size
        for start in range(0, len(todo), at_once):
            part = todo[start : start + at_once]
            pixels = [self._read(photo) for photo in part]
            for layer in layers:
                for photo, of_crops in zip(part, self._generators[layer].look(pixels, layer.crops), strict=True):
                    candidates = Candidates.of(of_crops, size=(photo.height, photo.width))
                    objects = self.truth.by_photo.get(photo.id, ())
                    overlaps = PhotoOverlaps.of(candidates.segmentations(), objects)
                    self._found[photo.id, layer] = (candidates, overlaps)
            watch(len(part))

    @staticmethod
    def _read(photo: Photo):
        try:
            return photo.read()
        except UserError as error:
            raise UserError(f"{error}. Fix it, or remove the photo from the annotations") from error

    def of(self, photos: Sequence[Photo], grid: Grid) -> Iterator[PhotoCandidates]:
        """Yield the candidates of each photo by `grid`, all of them decoded."""
        for photo in photos:
            parts = [self._found[photo.id, layer] for layer in grid.layers]
            yield PhotoCandidates(
                photo=photo.id,
                candidates=Candidates.join([candidates for candidates, _ in parts]),
                overlaps=PhotoOverlaps.join([overlaps for _, overlaps in parts]),
            )

    def drop_all_but(self, layers: Collection[Layer]) -> None:
        """Forget the candidates of other layers."""
        self._found = {key: found for key, found in self._found.items() if key[1] in layers}
