"""Objects as label maps: a PNG a photo, or a MATLAB file, in which each pixel has its object's number."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from samjax.data.annotations.dataset import Instance, Photo
from samjax.data.annotations.formats import FormatOptions, Objects
from samjax.data.annotations.images import ImageStore
from samjax.data.annotations.lazy_dataset import LazyDataset, LazyPhoto
from samjax.data.annotations.map_files import find_map_files
from samjax.data.annotations.matlab_maps import read_label_map
from samjax.data.annotations.pairing import Photos
from samjax.data.annotations.pngs import PngError, Segment, read_values, segments
from samjax.data.annotations.problems import Problems

_TOUCHING = np.ones((3, 3), bool)
_MATLAB = ".mat"
"""What the names of maps in MATLAB's format end on."""


def open_label_maps(path: str | Path, *, images: ImageStore, name: str, options: FormatOptions) -> LazyDataset:
    """List the PNGs under `path`: grey of 1 to 16 bits, or with a palette, whose indices count.

    With a `map_suffix` of `.mat`, list MATLAB files instead, whose variable `LabelMap` is the map (Pascal Context).

    Maps and photos belong together as `find_map_files` says. Photos are numbered from 1 in the order of their maps'
    paths, objects in that of their values.

    Raises:
      UserError: no such folder or no map in it. When they are read: photos or maps without the other or of one name,
        photos or maps that cannot be read, maps of another size than their photo, or of no object.
    """
    problems = Problems(str(path))
    photos, found = find_map_files(
        path,
        images=images,
        options=options,
        endings=(options.map_suffix,),
        others={_MATLAB: "MATLAB files"},
        kind="label maps",
        problems=problems,
    )
    lazy = [
        LazyPhoto(
            id=number,
            name=one.photo,
            objects=1 if options.objects is Objects.WHOLE else None,
            may_be_empty=True,
            decode=functools.partial(_read, one.path, options),
            accept=functools.partial(
                _accept, photos, problems, photo=one.photo, called=one.name, number=number, options=options
            ),
        )
        for number, one in enumerate(found, 1)
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
