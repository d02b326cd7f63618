"""Data sets whose masks are PNGs: only those that are evaluated are decoded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from samjax.data.annotations.dataset import Dataset, Photo
from samjax.data.annotations.pngs import PngError, read_all
from samjax.data.annotations.problems import Problems
from samjax.data.annotations.progress import Progress, no_progress
from samjax.data.annotations.subset import draw, draw_order

CROWDS_ALONE = "photos without a mask to prompt"
_AT_ONCE = 32
"""Photos that are decoded together."""


class Cut(NamedTuple):
    """A data set with more than `most` masks is cut to photos with `enough`, see `sampling.sample`."""

    most: int
    enough: int


@dataclass(frozen=True, kw_only=True)
class LazyPhoto:
    """A photo whose masks are files, not decoded yet."""

    id: int
    """Its place in the order of the data set, from 1, or the id that its annotations give it."""
    name: str
    objects: int | None
    """The number of its objects if nothing is wrong with it; else it has fewer. None if only decoding tells."""
    may_be_empty: bool = False
    """Whether it may have no object, and so be a photo without annotations."""
    decode: Callable[[], Any]
    """May run on any thread, and raise PngError."""
    accept: Callable[[Any | PngError], Photo | None]
    """Given what `decode` returned or raised, returns the photo, or adds to `problems` and returns None."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Photos that were decoded, and a sentence on how they were drawn, if they were."""

    dataset: Dataset
    note: str | None = None
    others: Sequence[Photo] = ()
    """What else was decoded, by id: photos without instances, and with crowds alone."""


@dataclass(frozen=True, kw_only=True)
class LazyDataset:
    """The photos of a data set in the order of their ids."""

    name: str
    photos: Sequence[LazyPhoto]
    categories: Mapping[int, str] | None
    """None if categories are the numbers that objects have."""
    problems: Sequence[Problems]
    """Of each of its parts; `accept` adds to them."""
    without_annotations: Sequence[LazyPhoto] = ()
    """Photos without annotations."""

    def read(
        self,
        *,
        cut: Cut | None = None,
        limit: int | None = None,
        allow_missing: bool = False,
        allow_unannotated: bool = False,
        keep_empty: bool = False,
        progress: Progress = no_progress,
    ) -> Reading:
        """Decode and return the photos that are evaluated, those that have an object to prompt.

        They are the same as if all photos were decoded, cut, and then limited. Objects are numbered from 1 in the order
        of photos. With `keep_empty`, photos whose annotations say that they have no object are allowed, and with
        `allow_unannotated` those without annotations count as such: all are in `others`, and none is left out.

        Raises:
          UserError: something is wrong with what was decoded, and it is not allowed.
        """
        decoder = _Decoder(f"masks of {self.name}", progress)
        trusted = not allow_missing and not (allow_unannotated and any(one.may_be_empty for one in self.photos))
        drawn, note = self._select(cut, decoder, trusted=trusted)
        decoder.decode(drawn, measure=lambda one: int(decoder.objects(one) > 0), enough=limit)
        if keep_empty and allow_unannotated:
            decoder.decode(self.without_annotations, measure=decoder.objects, enough=None)
        photos = [photo for one in drawn if (photo := decoder.found.get(one.id)) is not None and photo.objects]
        photos = _number(photos if limit is None else photos[:limit])
        left_out = _settle(
            self.problems, allow_missing=allow_missing, allow_unannotated=allow_unannotated, keep_empty=keep_empty
        )
        if decoder.crowds:
            left_out[CROWDS_ALONE] = decoder.crowds
        used = sorted({one.category for photo in photos for one in photo.instances})
        categories = self.categories or {number: str(number) for number in used}
        others = sorted(
            (photo for photo in decoder.found.values() if photo is not None and not photo.objects),
            key=lambda photo: photo.id,
        )
        dataset = Dataset(name=self.name, photos=photos, categories=categories, left_out=left_out)
        return Reading(dataset=dataset, note=note, others=others)

    def _select(self, cut: Cut | None, decoder: "_Decoder", *, trusted: bool) -> tuple[Sequence[LazyPhoto], str | None]:
        """Return the photos that `cut` leaves, and a sentence on that; decode no more than it takes to know them."""
        counts = [one.objects for one in self.photos]
        known = None if None in counts else sum(count or 0 for count in counts)
        if cut is None or (known is not None and known <= cut.most):
            return self.photos, None
        if known is not None and trusted:
            count, total = (lambda one: one.objects or 0), f"{known:,}"
        else:
            count, total = decoder.objects, f"more than {cut.most:,}"
            decoder.decode(draw_order(self.photos), measure=decoder.objects, enough=cut.most + 1)
            if sum(map(decoder.objects, self.photos)) <= cut.most:
                return self.photos, None
        chosen = [one for one in draw(self.photos, masks=count, enough=cut.enough) if count(one)]
        note = f"{self.name}: {len(chosen):,} photos with {sum(map(count, chosen)):,} masks drawn of "
        return chosen, f"{note}{len(self.photos):,} photos with {total} masks"

    @classmethod
    def join(cls, name: str, parts: Sequence["LazyDataset"], *, folders: Sequence[str]) -> "LazyDataset":
        """Return the data set of several parts: photos are numbered anew, and named with their part's folder."""
        photos: list[LazyPhoto] = []
        for part, folder in zip(parts, folders, strict=True):
            photos += [_rename(one, id=len(photos) + place, folder=folder) for place, one in enumerate(part.photos, 1)]
        categories = [part.categories for part in parts]
        return cls(
            name=name,
            photos=photos,
            categories=None if None in categories else {k: v for one in categories for k, v in (one or {}).items()},
            problems=[problems for part in parts for problems in part.problems],
        )


def _rename(one: LazyPhoto, *, id: int, folder: str) -> LazyPhoto:
    name = f"{folder}/{one.name}"

    def accept(found: Any) -> Photo | None:
        photo = one.accept(found)
        return None if photo is None else replace(photo, id=id, name=name)

    return replace(one, id=id, name=name, accept=accept)


class _Decoder:
    """Decodes photos' masks, several at a time, and keeps what was found by the photos' ids."""

    def __init__(self, what: str, progress: Progress):
        self._what, self._progress = what, progress
        self.found: dict[int, Photo | None] = {}
        self.crowds = 0
        """Photos that have nothing but crowds."""

    def objects(self, one: LazyPhoto) -> int:
        """Return how many objects a photo has, 0 if it is not decoded."""
        photo = self.found.get(one.id)
        return 0 if photo is None else len(photo.objects)

    def decode(self, those: Sequence[LazyPhoto], *, measure: Callable[[LazyPhoto], int], enough: int | None) -> None:
        """Decode the photos in their order until the sum of `measure` reaches `enough`; all if that is None.

        A photo that counts measures 1 or more, so no more photos are decoded at a time than may be missing.
        """
        todo = [one for one in those if one.id not in self.found]
        missing = len(todo) if enough is None else enough - sum(measure(one) for one in those if one.id in self.found)
        with self._progress(self._what, total=len(todo) if enough is None else min(len(todo), enough)) as watch:
            while todo and missing > 0:
                part, todo = todo[: min(_AT_ONCE, missing)], todo[min(_AT_ONCE, missing) :]
                for one, found in zip(part, read_all(lambda one: one.decode(), part), strict=True):
                    photo = self.found[one.id] = one.accept(found)
                    self.crowds += photo is not None and bool(photo.instances) and not photo.objects
                    missing -= 0 if enough is None else measure(one)
                    watch(1)


def _number(photos: Sequence[Photo]) -> list[Photo]:
    """Return the photos with their instances numbered from 1 over all."""
    numbered, count = [], 0
    for photo in photos:
        instances = tuple(replace(one, id=count + place) for place, one in enumerate(photo.instances, 1))
        numbered.append(replace(photo, instances=instances))
        count += len(instances)
    return numbered


def _settle(problems: Sequence[Problems], **allowances: bool) -> dict[str, int]:
    left_out: dict[str, int] = {}
    for part in problems:
        for kind, count in part.settle(**allowances).items():
            left_out[kind] = left_out.get(kind, 0) + count
    return left_out
