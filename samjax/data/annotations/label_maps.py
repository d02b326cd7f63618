"""Objects as label maps: a PNG a photo, or a MATLAB file, in which each pixel has its object's number."""

import functools
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from samjax.core.errors import UserError
from samjax.data.annotations.dataset import Instance, Photo
from samjax.data.annotations.formats import FormatOptions, Objects
from samjax.data.annotations.images import ImageStore
from samjax.data.annotations.lazy_dataset import LazyDataset, LazyPhoto
from samjax.data.annotations.listing import files_under
from samjax.data.annotations.matlab_maps import read_label_map
from samjax.data.annotations.pairing import Photos, path_key
from samjax.data.annotations.pngs import PngError, Segment, read_values, segments
from samjax.data.annotations.problems import Problems

_TOUCHING = np.ones((3, 3), bool)
_MATLAB = ".mat"
"""What the names of maps in MATLAB's format end on."""


def open_label_maps(path: str | Path, *, images: ImageStore, name: str, options: FormatOptions) -> LazyDataset:
    """List the PNGs under `path`: grey of 1 to 16 bits, or with a palette, whose indices count.

    With a `map_suffix` of `.mat`, list MATLAB files instead, whose variable `LabelMap` is the map (Pascal Context).

    A map belongs to the photo with the same path, or, if that is not there, the same name, if only one photo and one
    map have it, but for the suffixes of `options`. Photos are numbered from 1 in the order of their paths, objects in
    that of their values.

    Raises:
      UserError: no such folder or no map in it. When they are read: photos or maps without the other or of one name,
        photos or maps that cannot be read, maps of another size than their photo, or of no object.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{path} is not a folder: give the folder of the label maps")
    maps = {
        found.relative_to(folder).as_posix(): found
        for found in files_under(folder)
        if found.name.lower().endswith(options.map_suffix.lower())
        and (not options.photos_from or found.name.startswith(options.photos_from))
    }
    if not maps:
        others = sum(found.name.lower().endswith(_MATLAB) for found in files_under(folder))
        hint = f"; of {others:,} MATLAB files give --map-suffix {_MATLAB}" if others else ""
        raise UserError(f"{path} holds no label map, a PNG whose name ends on {options.map_suffix!r}{hint}")
    problems = Problems(str(path))
    inside = {images.place_of(found) for found in maps.values()}

    def key_of(photo: str) -> str | None:
        last = PurePosixPath(photo).name
        if images.place(photo) in inside or (options.photos_from and not last.startswith(options.photos_from)):
            return None
        return path_key(photo, suffix=options.photo_suffix)

    photos = Photos(images, key=key_of, problems=problems)
    keys: dict[str, str] = {}
    twice: set[str] = set()
    for called in maps:
        key = called[: len(called) - len(options.map_suffix)]
        if keys.setdefault(key, called) != called:  # a.png and a.PNG
            problems.add("label maps of the same name", f"{keys[key]} and {called}")
            twice.add(key)
    named = {key: photo for key, photo in photos.pair(keys, kind="label maps").items() if key not in twice}
    lazy = [
        LazyPhoto(
            id=number,
            name=named[key],
            objects=1 if options.objects is Objects.WHOLE else None,
            may_be_empty=True,
            decode=functools.partial(_read, maps[keys[key]], options),
            accept=functools.partial(
                _accept, photos, problems, photo=named[key], called=keys[key], number=number, options=options
            ),
        )
        for number, key in enumerate(sorted(named), 1)
    ]
    unannotated = photos.without_annotations(first_id=len(lazy) + 1)
    return LazyDataset(name=name, photos=lazy, without_annotations=unannotated, categories=None, problems=[problems])


class _Map(NamedTuple):
    size: tuple[int, int]
    objects: list[Segment]


def _accept(
    photos: Photos,
    problems: Problems,
    found: _Map | PngError,
    *,
    photo: str,
    called: str,
    number: int,
    options: FormatOptions,
) -> Photo | None:
    """Return the photo of the map that is `called` so, None if it cannot be used, which is told."""
    if isinstance(found, PngError):
        problems.add("label maps that cannot be used", f"{called}: {found}")
    elif not found.objects:
        problems.add_empty("label maps without an object", called)
        return photos.photo(photo, id=number, size=found.size, instances=())
    elif photos.is_of_size(photo, found.size, kind="label maps", called=called):
        instances = tuple(
            Instance(id=place, segmentation=one.segmentation, category=_category(one.value, options))
            for place, one in enumerate(found.objects, start=1)
        )
        return photos.photo(photo, id=number, size=found.size, instances=instances)
    return None


def _read(path: Path, options: FormatOptions) -> _Map:
    values = read_label_map(path) if path.name.lower().endswith(_MATLAB) else read_values(path)
    size = (values.shape[0], values.shape[1])
    nothing = {options.background} if options.ignore is None else {options.background, options.ignore}
    if options.objects is Objects.CLASSES:
        return _Map(size, segments(values, without=()))
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
    if options.objects is Objects.CLASSES:
        return value
    return value // options.class_base if options.class_base else 1
