"""Objects as a PNG each, in a folder a photo: black outside."""

import functools
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from samjax.core.errors import UserError
from samjax.data.annotations.dataset import Instance, Photo
from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageFolder, ImageStore
from samjax.data.annotations.lazy_dataset import LazyDataset, LazyPhoto
from samjax.data.annotations.listing import files_under
from samjax.data.annotations.pairing import Photos, path_key
from samjax.data.annotations.pngs import PngError, read_mask
from samjax.data.annotations.problems import UNUSABLE, Problems
from samjax.data.masks import rle


def open_instance_pngs(
    path: str | Path, *, images: ImageStore | None, name: str, options: FormatOptions
) -> LazyDataset:
    """List the folders under `path` that hold PNGs: `KEY/*.png`, for the photo KEY in `images`.

    Without `images`, both are under `path`: `KEY/images/NAME.png` and `KEY/masks/*.png`, as BBBC038 has them. Photos
    are numbered from 1 in the order of their paths, and so are their objects.

    Raises:
      UserError: no such folder or no PNG in it. When they are read: photos or folders of masks without the other or of
        one name, photos or masks that cannot be read, masks of another size than their photo.
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
        inside = {images.place_of(one) for those in masks.values() for one in those}
        photos = Photos(
            images,
            key=lambda photo: None if images.place(photo) in inside else path_key(photo, suffix=options.photo_suffix),
            problems=problems,
        )
    named = photos.pair({key: key for key in masks}, kind="folders of masks")
    lazy = [
        LazyPhoto(
            id=number,
            name=named[key],
            objects=len(masks[key]),
            decode=functools.partial(_read_all, masks[key]),
            accept=functools.partial(_accept, photos, problems, photo=named[key], files=masks[key], key=key, id=number),
        )
        for number, key in enumerate(sorted(named), 1)
    ]
    return LazyDataset(
        name=name,
        photos=lazy,
        without_annotations=photos.without_annotations(first_id=len(lazy) + 1),
        categories={1: "object"},
        problems=[problems],
    )


class _Mask(NamedTuple):
    size: tuple[int, int]
    area: int
    segmentation: dict[str, Any]


def _accept(
    photos: Photos, problems: Problems, found: Any, *, photo: str, files: list[Path], key: str, id: int
) -> Photo | None:
    """Return the photo with those of its masks that can be used, None if there are none; what cannot is told."""
    instances: list[Instance] = []
    size: tuple[int, int] | None = None
    for one, file in zip(found, files, strict=True):
        where = f"{key}/{file.name}"
        if isinstance(one, PngError):
            problems.add("masks that cannot be used", f"{where}: {one}")
        elif not one.area:
            problems.add("masks without a pixel", where)
        elif photos.is_of_size(photo, one.size, kind="masks", called=where):
            size = one.size
            instances.append(Instance(id=len(instances) + 1, segmentation=one.segmentation))
    if size is None:
        problems.add(UNUSABLE, photo)
        return None
    return photos.photo(photo, id=id, size=size, instances=tuple(instances))


def _read_all(files: list[Path]) -> list[_Mask | PngError]:
    return [_read(file) for file in files]


def _read(path: Path) -> _Mask | PngError:
    try:
        mask = read_mask(path)
    except PngError as error:
        return error
    return _Mask((mask.shape[0], mask.shape[1]), int(mask.sum()), rle.encode(mask))


def _masks(folder: Path, options: FormatOptions, *, beside_photos: bool) -> dict[str, list[Path]]:
    """Return the files of each photo's masks, by the photo's key."""
    masks: dict[str, list[Path]] = {}
    for file in files_under(folder):
        if file.suffix.lower() != ".png" or (options.masks_from and not file.name.startswith(options.masks_from)):
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
