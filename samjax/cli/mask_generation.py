"""The part of `samjax generate` that works: photos in, masks written, with progress and a closing line."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.predict.automatic.generator_config import GeneratorConfig

_TOLD = 20
"""How many unreadable photos to list one by one."""


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """What has become of photos."""

    photos: int = 0
    """Done."""
    masks: int = 0
    without_masks: int = 0
    """Of these."""
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    """Why, by the photo's key."""

    def unreadable_sentence(self) -> str:
        """Return which photos could not be read."""
        reasons = list(self.unreadable.values())
        more = f"; and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else ""
        total = len(reasons) + self.photos
        return (
            f"{len(reasons)} of {total} photos could not be read: {'; '.join(reasons[:_TOLD])}{more}. The other "
            f"{self.photos} are done; replace these, or exclude them from --images"
        )


def generate_masks(generator, photos: Sequence, folder, *, draw: bool) -> Outcome:
    """Generate and write the masks of `photos`, and print how many and how fast.

    Args:
      generator: a `MaskGenerator`.
      photos: `PhotoPlace`s; each is read when it is needed. Those that cannot be read are left out, and counted.
      folder: the `MaskFolder` to write to.
      draw: also draw each photo's masks.
    """
    from samjax.pictures.all_masks import draw_all_masks

    outcome = Outcome()
    near = _NearMisses()
    started = time.perf_counter()
    first: tuple[int, float] | None = None
    with progress("photos", total=len(photos)) as bar, ThreadPoolExecutor(2) as pool:
        for batch in batches_ahead(pool, photos, size=generator.batch_size):
            outcome.unreadable |= {place.key: str(error) for place, error in batch if isinstance(error, UserError)}
            loaded = [(place, photo) for place, photo in batch if not isinstance(photo, UserError)]
            of_photos = generator.generate([photo.pixels for _, photo in loaded])
            for (place, photo), masks, highest in zip(loaded, of_photos, generator.highest, strict=True):
                if not masks:
                    outcome.without_masks += 1
                    near.add(photo.source, highest)
                if draw:
                    picture = draw_all_masks(photo.pixels, [mask.segmentation["counts"] for mask in masks])
                    folder.write_overlay(place.key, picture)
                folder.write(place.key, photo.pixels, masks, content=photo.content, source=photo.source)
                outcome.masks, outcome.photos = outcome.masks + len(masks), outcome.photos + 1
            now = time.perf_counter()
            first = first or (outcome.photos, now)
            bar(len(batch), note=f"{_rate(outcome.photos, now - started, first, now)} images/s")
    took = time.perf_counter() - started
    if outcome.photos:
        print(
            f"{outcome.photos:,} photos, {outcome.masks:,} masks in {took:.1f} s, "
            f"{_rate(outcome.photos, took, first, started + took)} images/s"
            f"{' after the first' if first and outcome.photos > first[0] else ''}: {folder.path}",
            flush=True,
        )
    if outcome.without_masks:
        print(near.sentence(outcome, config=generator.config), flush=True)
    return outcome


class _NearMisses:
    """How close the best candidates of photos without a mask came to the thresholds."""

    def __init__(self):
        self._iou = 0.0
        self._nearest: tuple[str, Any] | None = None

    def add(self, source: str, highest: Any) -> None:
        """Count a photo; `highest` is the generator's."""
        self._iou = max(self._iou, highest.iou)
        if self._nearest is None or _order(highest) > _order(self._nearest[1]):
            self._nearest = source, highest

    def sentence(self, outcome: Outcome, *, config: GeneratorConfig) -> str:
        """Return it in words."""
        assert self._nearest is not None
        source, highest = self._nearest
        text = (
            f"{outcome.without_masks:,} of {outcome.photos:,} photos have no mask that passes the thresholds, such as "
            f"{source}. The highest predicted IoU on them is {self._iou:.6g}, --pred-iou-threshold "
            f"{config.pred_iou_threshold:g}"
        )
        if highest.stability is None:
            return f"{text}; stability is measured above that threshold only"
        if highest.stability >= config.stability_threshold:
            return f"{text}; what passed was cut by its crop's edge, or larger than --max-area-fraction"
        return (
            f"{text}; the highest stability of those above it is {highest.stability:.6g}, --stability-threshold "
            f"{config.stability_threshold:g}"
        )


def _order(highest: Any) -> tuple[float, float]:
    return highest.stability or 0.0, highest.iou


def _rate(done: int, took: float, first: tuple[int, float] | None, now: float) -> str:
    """Return images per second, excluding the first batch if there were others: it includes compilation."""
    if first is not None and done > first[0]:
        done, took = done - first[0], now - first[1]
    return f"{done / max(took, 1e-9):.3g}"


def batches_ahead(pool: ThreadPoolExecutor, photos: Sequence, *, size: int) -> Iterator[list]:
    """Yield (place, loaded photo or UserError) in batches, reading the next batch in the background."""

    def read(place):
        try:
            return place, place.load()
        except UserError as error:
            return place, error

    ahead = [pool.submit(read, place) for place in photos[:size]]
    for start in range(size, len(photos) + size, size):
        ready = [future.result() for future in ahead]
        ahead = [pool.submit(read, place) for place in photos[start : start + size]]
        yield ready
