"""Data sets as the command line names them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from samjax.core.errors import UserError
from samjax.data import rle
from samjax.eval.datasets.coco_json import read_coco
from samjax.eval.datasets.dataset import Dataset, Instance, Photo
from samjax.eval.datasets.formats import Format, FormatOptions
from samjax.eval.datasets.images import ImageStore
from samjax.eval.datasets.sa1b_records import read_sa1b
from samjax.eval.datasets.sampling import sample


@dataclass(frozen=True, kw_only=True)
class OpenedDataset:
    """A data set, ready to be prompted, and what a reader of figures on it must know."""

    dataset: Dataset
    notes: list[str]


def open_dataset(
    spec: str,
    *,
    format: str | None = None,
    images: ImageStore | None = None,
    options: FormatOptions | None = None,
    most_masks: int | None = None,
    allow_missing: bool = False,
    prepare: Callable[[str], str] = str,
) -> OpenedDataset:
    """Return the data set that `spec` names. Every mask in it has a pixel, every photo a mask that is no crowd.

    Args:
      spec: `[NAME=]PATH`.
      format: a value of `Format`; None where PATH leaves no doubt.
      images: where photos are, for formats that do not say.
      options: of the format.
      most_masks: cut to this many masks, if there are more: see `sampling`.
      allow_missing: leave out, and count, what is missing or damaged.
      prepare: given PATH, makes records of tars and returns where.

    Raises:
      UserError: no such path or format, or what its reader says.
    """
    name, path = _parse(spec)
    path = prepare(path)
    chosen = _format(path, format)
    dataset = _read(path, chosen, name, images, options or FormatOptions(), allow_missing)
    dataset = promptable(dataset)
    notes = []
    if most_masks is not None and dataset.masks > most_masks:
        whole = dataset
        dataset = sample(dataset, most=most_masks, enough=most_masks)
        notes.append(_drawn(whole, dataset))
    return OpenedDataset(dataset=dataset, notes=notes)


def promptable(dataset: Dataset) -> Dataset:
    """Return `dataset` without masks that have no pixel and photos that have only those, or only crowds; counted."""
    photos: list[Photo] = []
    empty = unusable = 0
    for photo in dataset.photos:
        kept = tuple(instance for instance in photo.instances if _has_pixels(instance))
        empty += len(photo.instances) - len(kept)
        if all(instance.crowd for instance in kept):
            unusable += 1
        else:
            photos.append(replace(photo, instances=kept))
    counts = {"masks without a pixel": empty, "photos without a mask to prompt": unusable}
    left_out = {**dataset.left_out, **{kind: count for kind, count in counts.items() if count}}
    if not photos:
        raise UserError(f"{dataset.name} has no photo with a mask: nothing can be evaluated on it")
    return replace(dataset, photos=photos, left_out=left_out)


def _has_pixels(instance: Instance) -> bool:
    height, width = instance.segmentation["size"]
    return rle.area(rle.parse_runs(instance.segmentation["counts"], height=height, width=width)) > 0


def _drawn(whole: Dataset, dataset: Dataset) -> str:
    return (
        f"{dataset.name}: {len(dataset.photos):,} photos with {dataset.masks:,} masks drawn of {len(whole.photos):,} "
        f"photos with {whole.masks:,} masks"
    )


def _parse(spec: str) -> tuple[str, str]:
    name, given, path = spec.partition("=")
    if not given or "/" in name or Path(spec).expanduser().exists():
        return Path(spec).stem or spec, spec
    if not name or not path:
        raise UserError(f"--data {spec!r} must be PATH or NAME=PATH")
    return name, path


def _format(path: str, format: str | None) -> Format:
    if format is not None:
        try:
            return Format(format)
        except ValueError:
            raise UserError(f"no format is called {format!r}: it must be one of {_formats()}") from None
    place = Path(path).expanduser()
    if place.suffix == ".json":
        return Format.COCO
    if any(next(place.glob(f"{level}dataset_info.json"), None) for level in ("", "*/", "*/*/")):
        return Format.SA1B
    if not place.exists():
        raise UserError(f"{path}: no such file or folder")
    raise UserError(f"{path} may be of several formats: give --format, one of {_formats()}")


def _formats() -> str:
    return ", ".join(format.value for format in Format)


def _read(
    path: str, format: Format, name: str, images: ImageStore | None, options: FormatOptions, allow_missing: bool
) -> Dataset:
    match format:
        case Format.SA1B:
            return read_sa1b(path, name=name, split=options.split, allow_missing=allow_missing)
        case Format.COCO:
            if images is None:
                raise UserError(f"{path} does not hold photos: give their folder with --images")
            return read_coco(path, images=images, name=name, allow_missing=allow_missing).dataset
        case _:
            raise UserError(f"{path}: the format {format.value} cannot be read yet")
