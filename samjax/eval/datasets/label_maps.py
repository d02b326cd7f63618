"""Objects as label maps: a PNG a photo, in which each pixel has its object's number."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from samjax.core.errors import UserError
from samjax.eval.datasets.dataset import Dataset, Instance, Photo
from samjax.eval.datasets.formats import FormatOptions, Objects
from samjax.eval.datasets.images import ImageStore
from samjax.eval.datasets.pairing import Photos, path_key
from samjax.eval.datasets.pngs import PngError, Segment, read_all, read_values, segments
from samjax.eval.datasets.problems import Problems

_TOUCHING = np.ones((3, 3), bool)


def read_label_maps(
    path: str | Path, *, images: ImageStore, name: str, options: FormatOptions, allow_missing: bool = False
) -> Dataset:
    """Read the PNGs under `path`: grey of 1 to 16 bits, or with a palette, whose indices count.

    A map belongs to the photo with the same path or name, but for the suffixes of `options`. Photos and their objects
    are numbered from 1 in the order of their paths and values.

    Raises:
      UserError: no such folder or no map in it; or, all of it in one message and unless `allow_missing`, photos or maps
        without the other, photos or maps that cannot be read, maps of another size than their photo, or of no object.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{path} is not a folder: give the folder of the label maps")
    maps = {
        found.relative_to(folder).as_posix().removesuffix(options.map_suffix): found
        for found in sorted(folder.rglob(f"*{options.map_suffix}"))
        if not options.photos_from or found.name.startswith(options.photos_from)
    }
    if not maps:
        raise UserError(f"{path} holds no label map, a PNG whose name ends on {options.map_suffix!r}")
    problems = Problems(str(path))
    inside = {images.name_of(found) for found in maps.values()}

    def key_of(photo: str) -> str | None:
        last = PurePosixPath(photo).name
        if photo in inside or (options.photos_from and not last.startswith(options.photos_from)):
            return None
        return path_key(photo, suffix=options.photo_suffix)

    photos = Photos(images, key=key_of, problems=problems)
    named = photos.pair({key: found.name for key, found in maps.items()}, kind="label maps")
    keys = sorted(named)
    made: list[Photo] = []
    count = 0
    for key, found in zip(keys, read_all(lambda key: _read(maps[key], options), keys), strict=True):
        if isinstance(found, PngError):
            problems.add("label maps that cannot be used", f"{maps[key].name}: {found}")
        elif not found.objects:
            problems.add("label maps without an object", maps[key].name)
        elif photos.is_of_size(named[key], found.size, kind="label maps", called=maps[key].name):
            instances = tuple(
                Instance(id=count + place, segmentation=one.segmentation, category=_category(one.value, options))
                for place, one in enumerate(found.objects, start=1)
            )
            count += len(instances)
            made.append(photos.photo(named[key], id=len(made) + 1, size=found.size, instances=instances))
    left_out = problems.settle(allow_missing=allow_missing)
    used = sorted({instance.category for photo in made for instance in photo.instances})
    return Dataset(name=name, photos=made, categories={one: str(one) for one in used}, left_out=left_out)


class _Map(NamedTuple):
    size: tuple[int, int]
    objects: list[Segment]


def _read(path: Path, options: FormatOptions) -> _Map:
    values = read_values(path)
    size = (values.shape[0], values.shape[1])
    nothing = {options.background} if options.ignore is None else {options.background, options.ignore}
    if options.objects is Objects.VALUES:
        found = segments(values, without=nothing)
        return _Map(size, [one for one in found if one.value >= (options.class_base or 0)])
    inside = ~np.isin(values, list(nothing))
    if options.objects is Objects.WHOLE:
        return _Map(size, segments(inside.astype(np.int32), without={0}))
    numbers = np.zeros(size, np.int32)
    ndimage.label(inside, structure=_TOUCHING, output=numbers)
    return _Map(size, segments(numbers, without={0}))


def _category(value: int, options: FormatOptions) -> int:
    return value // options.class_base if options.class_base else 1
