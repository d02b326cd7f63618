"""Objects as a PNG each, in a folder a photo: black outside."""

from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from samjax.core.errors import UserError
from samjax.data import rle
from samjax.eval.datasets.dataset import Dataset, Instance, Photo
from samjax.eval.datasets.formats import FormatOptions
from samjax.eval.datasets.images import ImageFolder, ImageStore
from samjax.eval.datasets.pairing import Photos, path_key
from samjax.eval.datasets.pngs import PngError, read_all, read_mask
from samjax.eval.datasets.problems import Problems


def read_instance_pngs(
    path: str | Path, *, images: ImageStore | None, name: str, options: FormatOptions, allow_missing: bool = False
) -> Dataset:
    """Read the folders under `path` that hold PNGs: `KEY/*.png`, for the photo KEY in `images`.

    Without `images`, both are under `path`: `KEY/images/NAME.png` and `KEY/masks/*.png`, as BBBC038 has them. Photos
    and their objects are numbered from 1 in the order of their paths.

    Raises:
      UserError: no such folder or no PNG in it; or, all of it in one message and unless `allow_missing`, photos or
        folders of masks without the other, photos or masks that cannot be read, masks of another size than their photo.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{path} is not a folder: give the folder that holds a folder of PNGs for each photo")
    problems = Problems(str(path))
    masks = _masks(folder, options, beside_photos=images is None)
    if not masks:
        expected = "KEY/images and KEY/masks/*.png" if images is None else "KEY/*.png"
        raise UserError(f"{path} holds no masks: they must be in {expected} for each photo")
    if images is None:
        photos = Photos(ImageFolder(folder), key=_key_beside, problems=problems)
    else:
        inside = {images.name_of(one) for those in masks.values() for one in those}
        photos = Photos(
            images,
            key=lambda photo: None if photo in inside else path_key(photo, suffix=options.photo_suffix),
            problems=problems,
        )
    named = photos.pair({key: key for key in masks}, kind="folders of masks")
    keys = sorted(named)
    made: list[Photo] = []
    count = 0
    for key in keys:
        found = read_all(_read, masks[key])
        instances: list[Instance] = []
        size: tuple[int, int] | None = None
        for file, one in zip(masks[key], found, strict=True):
            where = f"{key}/{file.name}"
            if isinstance(one, PngError):
                problems.add("masks that cannot be used", f"{where}: {one}")
            elif not one.area:
                problems.add("masks without a pixel", where)
            elif photos.is_of_size(named[key], one.size, kind="masks", called=where):
                size = one.size
                instances.append(Instance(id=count + len(instances) + 1, segmentation=one.segmentation))
        if size is None:
            problems.add("photos without a mask that can be used", named[key])
        else:
            made.append(photos.photo(named[key], id=len(made) + 1, size=size, instances=tuple(instances)))
            count += len(instances)
    left_out = problems.settle(allow_missing=allow_missing)
    return Dataset(name=name, photos=made, categories={1: "object"}, left_out=left_out)


class _Mask(NamedTuple):
    size: tuple[int, int]
    area: int
    segmentation: dict[str, Any]


def _read(path: Path) -> _Mask:
    mask = read_mask(path)
    return _Mask((mask.shape[0], mask.shape[1]), int(mask.sum()), rle.encode(mask))


def _masks(folder: Path, options: FormatOptions, *, beside_photos: bool) -> dict[str, list[Path]]:
    """Return the files of each photo's masks, by the photo's key."""
    masks: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.png")):
        if options.masks_from and not file.name.startswith(options.masks_from):
            continue
        holder = file.parent.relative_to(folder)
        if holder.parts and not beside_photos:
            masks.setdefault(holder.as_posix(), []).append(file)
        elif beside_photos and holder.name == "masks":
            masks.setdefault(holder.parent.as_posix(), []).append(file)
    return masks


def _key_beside(photo: str) -> str | None:
    """Return KEY of `KEY/images/NAME.png`."""
    holder = PurePosixPath(photo).parent
    return holder.parent.as_posix() if holder.name == "images" else None
