"""Data sets as the command line names them: `[NAME=]PATH`."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from samjax.core.errors import UserError
from samjax.core.text import printable
from samjax.data.annotations.coco_json import read_coco
from samjax.data.annotations.dataset import Dataset, Photo
from samjax.data.annotations.dataset_entries import ENTRIES
from samjax.data.annotations.dataset_entry import NamedDataset
from samjax.data.annotations.formats import Format, FormatOptions
from samjax.data.annotations.images import ImageFolder, ImageStore
from samjax.data.annotations.lazy_dataset import Cut, LazyDataset
from samjax.data.annotations.png_formats import needed_images, open_png_format
from samjax.data.annotations.progress import Progress, no_progress
from samjax.data.annotations.sa1b_records import read_sa1b
from samjax.data.annotations.subset import ENOUGH, MOST, sample
from samjax.data.stream.sources import holds_records


@dataclass(frozen=True, kw_only=True)
class OpenedDataset:
    """A data set ready for prompting, with notes that a reader of its results needs."""

    dataset: Dataset
    notes: list[str]


def open_dataset(
    spec: str,
    *,
    format: str | None = None,
    images: ImageStore | None = None,
    options: FormatOptions | None = None,
    most_masks: int | None = None,
    limit: int | None = None,
    allow_missing: bool = False,
    allow_unannotated: bool = False,
    prepare: Callable[[str], str] = str,
    progress: Progress = no_progress,
) -> OpenedDataset:
    """Return the data set that `spec` names. Every mask in it has a pixel, every photo a mask that is no crowd.

    Args:
      spec: `[NAME=]PATH`. A NAME of `ENTRIES` makes PATH its root, or COCO's JSON of it; any other is a label.
      format: a value of `Format`; None where PATH leaves no doubt. A named data set has its own.
      images: where photos are, for formats that do not say, and for named ones where their own folder is missing.
      options: of the format. A named data set has its own.
      most_masks: cut to about this many masks, if there are more: see `sampling`. None cuts named ones as the paper.
      limit: use only the first photos. PNG masks are decoded for these, and for more if the cut needs them.
      allow_missing: skip and count what is missing or damaged.
      allow_unannotated: skip and count photos without annotations.
      prepare: turns the tars at PATH into records and returns their path.
      progress: shows what is read.

    Raises:
      UserError: no such name, path or format, or what its reader says.
    """
    label, path = parse(spec)
    entry = None if label is None else ENTRIES.get(label)
    if label and entry is None and format is None:
        _refuse_misspelt(label)
    name = printable(label or Path(path).stem or path)
    reader = _Reader(
        name=name,
        allowances={"allow_missing": allow_missing, "allow_unannotated": allow_unannotated},
        progress=progress,
    )
    if entry is None:
        path = prepare(path)
        opened = reader.open(path, _format(path, format), images, options or FormatOptions())
    elif Path(path).suffix == ".json":
        opened = reader.open(path, Format.COCO, images, FormatOptions())
    else:
        opened = _open_named(reader, entry, Path(path).expanduser(), images)
    notes = []
    if isinstance(opened, LazyDataset):
        cut = None if entry is None else Cut(MOST, ENOUGH)
        cut = cut if most_masks is None else Cut(most_masks, most_masks)
        reading = opened.read(cut=cut, limit=limit, progress=progress, **reader.allowances)
        dataset, notes = promptable(reading.dataset), [] if reading.note is None else [reading.note]
    else:
        dataset = whole = promptable(opened)
        if most_masks is not None:
            dataset = sample(whole, most=most_masks, enough=most_masks)
        elif entry is not None:
            dataset = sample(whole)
        if dataset.masks < whole.masks:
            notes.append(_drawn(whole, dataset))
        if limit is not None:
            dataset = replace(dataset, photos=dataset.photos[:limit])
    if entry is not None and limit is None and (difference := entry.difference(dataset)):
        notes.append(difference)
    return OpenedDataset(dataset=dataset, notes=notes)


def parse(spec: str) -> tuple[str | None, str]:
    """Return NAME, if there is one, and PATH of `[NAME=]PATH`."""
    name, given, path = spec.partition("=")
    if not given or "/" in name or Path(spec).expanduser().exists():
        return None, spec
    if not name or not path:
        raise UserError(f"{spec!r} must be PATH or NAME=PATH")
    return name, path


def _refuse_misspelt(label: str) -> None:
    if alike := difflib.get_close_matches(label.lower(), ENTRIES, n=1, cutoff=0.75):
        raise UserError(f"no data set is called {label!r}: did you mean {alike[0]}? Give --format to call yours so")


def promptable(dataset: Dataset) -> Dataset:
    """Return `dataset` without masks that have no pixel and photos that have only those, or only crowds; counted.

    Raises:
      UserError: nothing remains.
    """
    photos: list[Photo] = []
    empty = unusable = 0
    for photo in dataset.photos:
        kept = tuple(instance for instance in photo.instances if instance.area)
        empty += len(photo.instances) - len(kept)
        if all(instance.crowd for instance in kept):
            unusable += 1
        else:
            photos.append(replace(photo, instances=kept))
    if not photos:
        raise UserError(f"{dataset.name} has no photo with a mask: nothing can be evaluated on it")
    counts = {"masks without a pixel": empty, "photos without a mask to prompt": unusable}
    left_out = {**dataset.left_out, **{kind: count for kind, count in counts.items() if count}}
    return replace(dataset, photos=photos, left_out=left_out)


def _drawn(whole: Dataset, dataset: Dataset) -> str:
    return (
        f"{dataset.name}: {len(dataset.photos):,} photos with {dataset.masks:,} masks drawn of {len(whole.photos):,} "
        f"photos with {whole.masks:,} masks"
    )


def _format(path: str, format: str | None) -> Format:
    if format is not None:
        try:
            return Format(format)
        except ValueError:
            raise UserError(f"no format is called {format!r}: it must be one of {_formats()}") from None
    place = Path(path).expanduser()
    if not place.exists():
        raise UserError(f"{path}: no such file or folder")
    if place.suffix == ".json":
        return Format.COCO
    if holds_records(path):
        return Format.SA1B
    raise UserError(f"{path} may be of several formats: give --format, one of {_formats()}")


def _formats() -> str:
    return ", ".join(format.value for format in Format)


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Opens parts of a data set."""

    name: str
    allowances: Mapping[str, bool]
    progress: Progress

    def open(
        self, path: str, format: Format, images: ImageStore | None, options: FormatOptions
    ) -> Dataset | LazyDataset:
        if format is Format.SA1B:
            return read_sa1b(path, name=self.name, split=options.split, progress=self.progress, **self.allowances)
        if format is Format.COCO:
            photos = needed_images(path, images)
            return read_coco(path, images=photos, name=self.name, progress=self.progress, **self.allowances).dataset
        return open_png_format(path, format=format, images=images, name=self.name, options=options)


def _open_named(reader: _Reader, entry: NamedDataset, root: Path, images: ImageStore | None) -> Dataset | LazyDataset:
    whole, lazy = [], []
    for part in entry.parts:
        place, photos = root / part.annotations, root / part.photos
        if not place.exists():
            first = f"; {entry.bring}" if entry.bring else ""
            raise UserError(
                f"{place} is missing: the root of {entry.key} must be {entry.root}{first}. It is downloaded from "
                f"{entry.url}"
            )
        store = ImageFolder(photos) if part.photos and (photos.is_dir() or images is None) else images
        opened = reader.open(str(place), part.format, store, part.options)
        (lazy if isinstance(opened, LazyDataset) else whole).append(opened)
    if len(entry.parts) == 1:
        return (whole or lazy)[0]
    if not lazy:
        return join_parts(entry, whole)
    assert not whole, f"{entry.key} has parts of JSON and of PNGs"
    return LazyDataset.join(entry.key, lazy, folders=[part.photos for part in entry.parts])


def join_parts(entry: NamedDataset, parts: list[Dataset]) -> Dataset:
    """Return the data set of several parts: photos and masks are numbered anew, photos named with their folder."""
    photos: list[Photo] = []
    masks = 0
    left_out: dict[str, int] = {}
    for part, dataset in zip(entry.parts, parts, strict=True):
        for photo in dataset.photos:
            instances = tuple(
                replace(instance, id=masks + place) for place, instance in enumerate(photo.instances, start=1)
            )
            masks += len(instances)
            name = f"{part.photos}/{photo.name}"
            photos.append(replace(photo, id=len(photos) + 1, name=name, instances=instances))
        for kind, count in dataset.left_out.items():
            left_out[kind] = left_out.get(kind, 0) + count
    categories = {number: name for dataset in parts for number, name in dataset.categories.items()}
    return Dataset(name=entry.key, photos=photos, categories=categories, left_out=left_out)
