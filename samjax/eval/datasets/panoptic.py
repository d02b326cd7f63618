"""Objects as COCO's panoptic format has them: a JSON that says what the segments of one PNG a photo are."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from samjax.core.errors import UserError
from samjax.eval.datasets.coco_json import read_lists, whole
from samjax.eval.datasets.dataset import Dataset, Instance, Photo
from samjax.eval.datasets.formats import FormatOptions
from samjax.eval.datasets.images import ImageStore
from samjax.eval.datasets.pairing import is_of_size
from samjax.eval.datasets.pngs import PngError, Segment, read_all, read_coloured, segments
from samjax.eval.datasets.problems import Problems

_VOID = 0


class _Map(NamedTuple):
    """One photo's annotation, its PNG and the photo."""

    image: dict[str, Any]
    segments: dict[int, dict[str, Any]]
    png: Path
    photo: str


def read_panoptic(
    path: str | Path, *, images: ImageStore, name: str, options: FormatOptions, allow_missing: bool = False
) -> Dataset:
    """Read the JSON at `path`; its PNGs are in the folder of the same name beside it.

    A pixel's segment is red + 256 green + 65536 blue, 0 none. Ids of images may be text, as in Cityscapes: photos are
    then numbered from 1 in its order. Objects are numbered from 1 in the order of photos and segments.

    Raises:
      UserError: not such a JSON, or no such folder; or, all of it in one message and unless `allow_missing`, what does
        not fit together: photos, annotations and PNGs without the other, PNGs outside the folder, damaged or of another
        size, unknown categories, segments without pixels and pixels without a segment.
    """
    path = Path(path).expanduser()
    content = read_lists(path)
    folder = path.with_suffix("")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: the PNGs of {path.name} must be in it")
    problems = Problems(str(path))
    categories = {whole(one, "id", path): one for one in content["categories"]}
    numbers = _numbers(content["images"], path)
    maps = _maps(content, folder, images, options, problems, path)
    photos: list[Photo] = []
    count = 0
    order = sorted(maps, key=lambda of: numbers[of])
    found = read_all(lambda of: segments(read_coloured(maps[of].png), without={_VOID}), order)
    for of, drawn in zip(order, found, strict=True):
        image, png = maps[of].image, maps[of].png.name
        if isinstance(drawn, PngError):
            problems.add("PNGs that cannot be used", f"{png}: {drawn}")
            continue
        size = (image["height"], image["width"])
        if drawn and tuple(drawn[0].segmentation["size"]) != size:
            problems.add("PNGs of another size than their photo", png)
            continue
        kept = _kept(drawn, maps[of].segments, categories, options, problems, png)
        if not kept:
            problems.add("photos without an object", maps[of].photo)
            continue
        instances = tuple(
            Instance(
                id=count + place,
                segmentation=one.segmentation,
                category=said["category_id"],
                crowd=bool(said.get("iscrowd", 0)),
            )
            for place, (one, said) in enumerate(kept, start=1)
        )
        count += len(instances)
        read = images.find(maps[of].photo, height=size[0], width=size[1])
        assert read is not None, maps[of].photo
        photos.append(
            Photo(
                id=numbers[of],
                name=PurePosixPath(maps[of].photo).name,
                height=size[0],
                width=size[1],
                instances=instances,
                read=read,
            )
        )
    left_out = problems.settle(allow_missing=allow_missing)
    names = {number: str(one.get("name", number)) for number, one in categories.items()}
    return Dataset(name=name, photos=photos, categories=names, left_out=left_out)


def _numbers(listed: list[dict[str, Any]], path: Path) -> dict[int | str, int]:
    """Return the number of each image's id: itself, or its place if ids are text."""
    ids = [image.get("id") for image in listed]
    if all(isinstance(one, str) for one in ids):
        return {one: place for place, one in enumerate(sorted(set(map(str, ids))), start=1)}
    return {(number := whole(image, "id", path)): number for image in listed}


def _maps(
    content: dict[str, Any],
    folder: Path,
    images: ImageStore,
    options: FormatOptions,
    problems: Problems,
    path: Path,
) -> dict[int | str, _Map]:
    """Return what there is of each image, by its id, where nothing is missing."""
    listed: dict[int | str, dict[str, Any]] = {}
    photos: dict[int | str, str] = {}
    for image in content["images"]:
        of, size = image["id"], (whole(image, "height", path), whole(image, "width", path))
        photo = f"{of}{options.photo_suffix}" if options.photo_suffix else str(image.get("file_name"))
        if of in listed:
            problems.add("images whose id is given twice", of)
            continue
        listed[of] = image
        if not images.has(photo):
            problems.add("images whose photo is missing", photo)
        elif is_of_size(images, photo, size, problems=problems):
            photos[of] = photo
    maps: dict[int | str, _Map] = {}
    annotated: set[int | str] = set()
    for annotation in content["annotations"]:
        of, png = annotation.get("image_id"), PurePosixPath(str(annotation.get("file_name")))
        said = annotation.get("segments_info")
        if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
            raise UserError(f"{path} has no list segments_info for {png}: it must be COCO's panoptic format")
        if not isinstance(of, int | str) or of not in listed:
            problems.add("annotations of images that are not in the file", png)
        elif of in annotated:
            problems.add("images with several annotations", of)
        elif png.is_absolute() or ".." in png.parts:
            problems.add("annotations whose PNG would lie outside the folder", png)
        else:
            annotated.add(of)
            if of in photos:
                maps[of] = _Map(listed[of], {whole(one, "id", path): one for one in said}, folder / png, photos[of])
    for of in listed:
        if of not in annotated:
            problems.add("images without annotations", of)
    return maps


def _kept(
    drawn: list[Segment],
    said: Mapping[int, dict[str, Any]],
    categories: Mapping[int, dict[str, Any]],
    options: FormatOptions,
    problems: Problems,
    png: str,
) -> list[tuple[Segment, dict[str, Any]]]:
    """Return the segments that are objects, with what the JSON says of each."""
    kept = []
    for one in drawn:
        category = said.get(one.value, {}).get("category_id")
        if one.value not in said:
            problems.add("segments that the file does not have", f"{png}: {one.value}")
        elif not isinstance(category, int) or category not in categories:
            problems.add("segments of unknown categories", f"{png}: {one.value}, category {category}")
        elif not options.things_only or categories[category].get("isthing", 1):
            kept.append((one, said[one.value]))
    for value in sorted(set(said) - {one.value for one in drawn}):
        problems.add("segments without a pixel", f"{png}: {value}")
    return kept
