"""Objects as COCO's panoptic format has them: a JSON that says what the segments of one PNG a photo are."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from samjax.core.errors import UserError
from samjax.data.annotations.annotation_json import file_name, flag, index_by_id, is_whole, label, read_lists, whole
from samjax.data.annotations.dataset import Instance, Photo
from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageStore
from samjax.data.annotations.lazy_dataset import LazyDataset, LazyPhoto
from samjax.data.annotations.pairing import find_photos, is_of_size
from samjax.data.annotations.pngs import PngError, Segment, read_colours, segments
from samjax.data.annotations.problems import UNUSABLE, Problems, quote

_VOID = 0


class _Object(NamedTuple):
    category: int
    crowd: bool


class _Annotation(NamedTuple):
    """One photo's annotation."""

    segments: dict[int, _Object | None]
    """By their ids; None for one that is no object that was asked for, or that cannot be used."""
    is_sound: bool
    """Whether all of them can be used."""
    png: Path


class _Decoded(NamedTuple):
    size: tuple[int, int]
    segments: list[Segment]


def open_panoptic(path: str | Path, *, images: ImageStore, name: str, options: FormatOptions) -> LazyDataset:
    """Read the JSON at `path`, and list its PNGs, which are in the folder of the same name beside it.

    A pixel's segment is red + 256 green + 65536 blue, 0 none. Ids of images may be text, as in Cityscapes: photos are
    then numbered from 1 in its order. Objects are numbered from 1 in the order of photos and segments.

    Raises:
      UserError: not such a JSON, or no such folder. When they are read: what does not fit together, which is photos,
        annotations and PNGs without the other or shared, PNGs outside the folder, damaged or of another size, unknown
        categories, segments without pixels and pixels without a segment.
    """
    path = Path(path).expanduser()
    content = read_lists(path)
    folder = path.with_suffix("")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: the PNGs of {path.name} must be in it")
    problems = Problems(str(path))
    parser = _Parser(path=path, categories=index_by_id(content["categories"], path), options=options, problems=problems)
    numbers = _numbers(content["images"], path)
    listed, twice = parser.images(content["images"])
    wanted = {of: [parser.photo(of, image)] for of, image in listed.items() if of not in twice}
    photos = find_photos(images, wanted, problems=problems)
    annotations = parser.annotations(content["annotations"], of=listed, folder=folder)
    lazy = [
        LazyPhoto(
            id=numbers[of],
            name=PurePosixPath(photos[of]).name,
            objects=sum(one is not None and not one.crowd for one in annotations[of].segments.values()),
            decode=functools.partial(_read, annotations[of].png),
            accept=functools.partial(
                parser.accept, images, annotation=annotations[of], image=listed[of], photo=photos[of], id=numbers[of]
            ),
        )
        for of in sorted(photos.keys() & annotations.keys(), key=lambda of: numbers[of])
    ]
    unannotated = [
        LazyPhoto(
            id=numbers[of],
            name=PurePosixPath(photos[of]).name,
            objects=0,
            decode=lambda: None,
            accept=functools.partial(
                parser.accept_unannotated, images, image=listed[of], photo=photos[of], id=numbers[of]
            ),
        )
        for of in sorted(photos.keys() - parser.annotated(content["annotations"]), key=lambda of: numbers[of])
    ]
    names = {number: label(one) for number, one in parser.categories.items()}
    return LazyDataset(name=name, photos=lazy, without_annotations=unannotated, categories=names, problems=[problems])


def _read(png: Path) -> _Decoded:
    values = read_colours(png)
    return _Decoded((values.shape[0], values.shape[1]), segments(values, without={_VOID}))


def _numbers(listed: list[dict[str, Any]], path: Path) -> dict[int | str, int]:
    """Return the number of each image's id: itself, or its place if ids are text."""
    ids = [image.get("id") for image in listed]
    if all(isinstance(one, str) for one in ids):
        return {one: place for place, one in enumerate(sorted(set(map(str, ids))), start=1)}
    return {(number := whole(image, "id", path)): number for image in listed}


@dataclass(frozen=True, kw_only=True)
class _Parser:
    """Takes apart what the JSON says, and tells what is wrong with it."""

    path: Path
    categories: Mapping[int, dict[str, Any]]
    options: FormatOptions
    problems: Problems

    def __post_init__(self):
        for one in self.categories.values():
            try:
                flag(one, "isthing", default=True)
            except ValueError as error:
                raise UserError(f"{self.path}, category {one['id']}: {error}") from error

    def images(self, given: list[dict[str, Any]]) -> tuple[dict[int | str, dict[str, Any]], set[int | str]]:
        """Return the images by their ids, and the ids of images that differ: which an annotation is of is not known."""
        listed: dict[int | str, dict[str, Any]] = {}
        twice: set[int | str] = set()
        for image in given:
            of = image["id"]
            for side in ("height", "width"):
                whole(image, side, self.path)
            first = listed.setdefault(of, image)
            if first is not image:
                self.problems.add("images whose id is given twice", of)
                twice.update([of] if first != image else [])
        return listed, twice

    def photo(self, of: int | str, image: dict[str, Any]) -> str:
        """Return what an image calls its photo."""
        suffix = self.options.photo_suffix
        return f"{of}{suffix}" if suffix else file_name(image, self.path)

    def annotations(
        self, given: list[dict[str, Any]], *, of: Mapping[int | str, dict[str, Any]], folder: Path
    ) -> dict[int | str, _Annotation]:
        """Return the annotation of each image that has one, and a PNG that is no other's."""
        found: dict[int | str, _Annotation] = {}
        for annotation in given:
            image, png = annotation.get("image_id"), annotation.get("file_name")
            said = annotation.get("segments_info")
            if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
                raise UserError(
                    f"{self.path} has no list segments_info for {quote(png)}: it must be COCO's panoptic format"
                )
            if not (is_whole(image) or isinstance(image, str)) or image not in of:
                kind = "annotations of images that are not in the file"
                self.problems.add(kind, f"image_id {quote(image)}, file_name {quote(png)}")
            elif image in found:
                self.problems.add("images with several annotations", quote(image))
            elif not isinstance(png, str) or not png:
                self.problems.add("annotations whose file_name is no text", f"image_id {quote(image)}: {quote(png)}")
            elif (place := _inside(folder, png)) is None:
                self.problems.add("annotations whose PNG would lie outside the folder", png)
            else:
                faults = self.problems.total
                found[image] = _Annotation(
                    segments=self._segments(said, called=png), is_sound=self.problems.total == faults, png=place
                )
        shared: dict[Path, list[int | str]] = {}
        for image, annotation in found.items():
            shared.setdefault(annotation.png, []).append(image)
        for png, those in shared.items():
            if len(those) > 1:
                ids = " and ".join(map(quote, those[:3]))
                self.problems.add("annotations that share a PNG", f"image_id {ids}: {png.name}", times=len(those))
                for image in those:
                    del found[image]
        annotated = self.annotated(given)
        for image in of:
            if image not in annotated:
                self.problems.add_without_annotations("images without annotations", image)
        return found

    def annotated(self, given: list[dict[str, Any]]) -> set[int | str]:
        """Return the ids of the images that have an annotation, usable or not."""
        return {image for one in given if isinstance(image := one.get("image_id"), int | str)}

    def accept_unannotated(
        self, images: ImageStore, _: object, *, image: dict[str, Any], photo: str, id: int
    ) -> Photo | None:
        """Return a photo without an annotation, None if it cannot be used, which is told."""
        size = (image["height"], image["width"])
        if not is_of_size(images, photo, size, problems=self.problems):
            return None
        return _photo(images, photo, id=id, size=size, instances=())

    def _segments(self, said: list[dict[str, Any]], *, called: str) -> dict[int, _Object | None]:
        """Return the segments by their ids; those that cannot be used are told."""
        found: dict[int, _Object | None] = {}
        for one in said:
            number, category = whole(one, "id", self.path), one.get("category_id")
            if number in found:
                self.problems.add("segments whose id is given twice", f"{called}: {number}")
                found[number] = None
                continue
            found[number] = None
            try:
                crowd = flag(one, "iscrowd")
            except ValueError as error:
                self.problems.add("segments whose iscrowd is neither 0 nor 1", f"{called}: {number}, {error}")
                continue
            if not is_whole(category) or category not in self.categories:
                which = f"{called}: {number}, category_id {quote(category)}"
                self.problems.add("segments of unknown categories", which)
            elif not self.options.things_only or flag(self.categories[category], "isthing", default=True):
                found[number] = _Object(category, crowd)
        return found

    def accept(
        self,
        images: ImageStore,
        found: _Decoded | PngError,
        *,
        annotation: _Annotation,
        image: dict[str, Any],
        photo: str,
        id: int,
    ) -> Photo | None:
        """Return the photo with its segments, None if it cannot be used, which is told."""
        size, png = (image["height"], image["width"]), annotation.png.name
        if not is_of_size(images, photo, size, problems=self.problems):
            return None
        if isinstance(found, PngError):
            self.problems.add("PNGs that cannot be used", f"{png}: {found}")
            return None
        if found.size != size:
            sizes = f"{png} is {found.size[1]} x {found.size[0]}, its photo {size[1]} x {size[0]}"
            self.problems.add("PNGs of another size than their photo", sizes)
            return None
        kept: list[tuple[Segment, _Object]] = []
        faults = self.problems.total
        for one in found.segments:
            if one.value not in annotation.segments:
                self.problems.add("segments that the file does not have", f"{png}: {one.value}")
            elif (what := annotation.segments[one.value]) is not None:
                kept.append((one, what))
        for value in sorted(annotation.segments.keys() - {one.value for one in found.segments}):
            self.problems.add("segments without a pixel", f"{png}: {value}")
        if not kept and not (annotation.is_sound and self.problems.total == faults):
            self.problems.add(UNUSABLE, photo)
            return None
        if not kept:
            self.problems.add_empty("photos without an object", photo)
        instances = tuple(
            Instance(id=place, segmentation=one.segmentation, category=what.category, crowd=what.crowd)
            for place, (one, what) in enumerate(kept, start=1)
        )
        return _photo(images, photo, id=id, size=size, instances=instances)


def _photo(images: ImageStore, photo: str, *, id: int, size: tuple[int, int], instances: tuple[Instance, ...]) -> Photo:
    return Photo(
        id=id,
        name=PurePosixPath(photo).name,
        path=photo,
        height=size[0],
        width=size[1],
        instances=instances,
        read=images.reader(photo, height=size[0], width=size[1]),
    )


def _inside(folder: Path, png: str) -> Path | None:
    r"""Return the file of that name in the folder, which may be written as on Windows; None if it is outside."""
    for name in (png, png.replace("\\", "/")):
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            return None
        place = folder / relative
        if "\\" not in name or os.path.lexists(place):
            return place
    return None
