"""Annotated photos to train on: those with objects, and those that are known to have none."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from samjax.data.annotations.coco_json import UNANNOTATED, read_coco
from samjax.data.annotations.dataset import Photo
from samjax.data.annotations.formats import Format, FormatOptions
from samjax.data.annotations.images import ImageStore
from samjax.data.annotations.lazy_dataset import CROWDS_ALONE
from samjax.data.annotations.png_formats import needed_images, open_png_format
from samjax.data.annotations.problems import UNUSABLE
from samjax.data.annotations.progress import Progress, no_progress

CROWDS = "crowds"
EMPTY_MASKS = "masks without a pixel"


@dataclass(frozen=True, kw_only=True)
class AllPhotos:
    """Annotated photos, in the order of their ids."""

    with_objects: Sequence[Photo]
    """Their instances are single objects, and have a pixel each."""
    without_objects: Sequence[Photo]
    """Photos whose annotations say that they have no object: all that is detected on them is false."""
    left_out: Mapping[str, int]
    """What of the data is in neither, and how much of it."""


def read_all_photos(
    path: str,
    *,
    format: Format,
    images: ImageStore | None,
    options: FormatOptions,
    allow_missing: bool = False,
    allow_unannotated: bool = False,
    keep_crowds: bool = False,
    progress: Progress = no_progress,
) -> AllPhotos:
    """Read the annotations at `path`, by the readers that evaluations use.

    Photos without objects are images that a JSON lists without annotations, label maps of background alone, and
    panoptic annotations without segments; with `allow_unannotated` also photos without a label map, a folder of masks
    or a panoptic annotation. A photo that has only crowds, or only masks that cannot be used, is left out: it has
    objects, but nobody knows where.

    Args:
      path: the JSON or the folder.
      format: any but SA1B.
      images: where the photos are; None for instance PNGs with the photos beside them.
      options: of the format.
      allow_missing: leave out and count what is missing or damaged.
      allow_unannotated: take photos without annotations for photos without objects.
      keep_crowds: keep regions of many objects too, for the class of their pixels.
      progress: shows what is read.

    Raises:
      UserError: what the reader of `format` says.
    """
    if format is Format.COCO:
        photos = needed_images(path, images)
        # An image without annotations has no object: COCO's format has no other way to say that.
        read = read_coco(
            path,
            images=photos,
            name=Path(path).stem,
            allow_missing=allow_missing,
            allow_unannotated=True,
            progress=progress,
        )
        found: list[Photo] = [
            *read.dataset.photos,
            *(p for p in read.without_annotations if p.id not in read.unusable_ids),
        ]
        left_out = Counter(read.dataset.left_out)
        del left_out[UNANNOTATED]
        left_out[UNUSABLE] += len(read.unusable_ids)
    else:
        lazy = open_png_format(path, format=format, images=images, name=Path(path).stem, options=options)
        reading = lazy.read(
            allow_missing=allow_missing, allow_unannotated=allow_unannotated, keep_empty=True, progress=progress
        )
        found = [*reading.dataset.photos, *reading.others]
        left_out = Counter(reading.dataset.left_out)
        del left_out[CROWDS_ALONE]  # they are in `others`
    return _sort_out(found, left_out, keep_crowds=keep_crowds)


def _sort_out(photos: Iterable[Photo], left_out: Counter[str], *, keep_crowds: bool) -> AllPhotos:
    with_objects: list[Photo] = []
    without_objects: list[Photo] = []
    for photo in sorted(photos, key=lambda photo: photo.id):
        wanted = photo.instances if keep_crowds else photo.objects
        objects = tuple(instance for instance in wanted if instance.area)
        left_out[CROWDS] += len(photo.instances) - len(wanted)
        left_out[EMPTY_MASKS] += len(wanted) - len(objects)
        if objects:
            with_objects.append(replace(photo, instances=objects))
        elif not photo.instances:
            without_objects.append(photo)
        else:
            left_out[UNUSABLE] += 1
    return AllPhotos(
        with_objects=with_objects,
        without_objects=without_objects,
        left_out={kind: count for kind, count in sorted(left_out.items()) if count},
    )
