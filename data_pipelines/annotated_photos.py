"""Converts photos annotated in the formats that people have to ArrayRecord with SA-1B's schema, one split or two."""

import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from data_pipelines import preparation
from data_pipelines.annotated_photo import AnnotatedPhoto, ObjectMask
from data_pipelines.annotated_units import AnnotatedUnit
from data_pipelines.dataset_kinds import ANNOTATED, SEGMENTED
from data_pipelines.folder_units import FolderUnit, make_units
from data_pipelines.holdout import Splits
from data_pipelines.holdout_list import check_list
from data_pipelines.layouts import Layout
from data_pipelines.preparation import ALL_CORES, LocalRun, PrepareProgress
from data_pipelines.prepare_report import PrepareReport
from data_pipelines.segment_maps import absent_classes, check_categories
from samjax.core.errors import UserError
from samjax.core.text import printable
from samjax.data.annotations.all_photos import AllPhotos, read_all_photos
from samjax.data.annotations.dataset import Photo
from samjax.data.annotations.formats import Format, FormatOptions, Objects
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.progress import Progress, no_progress
from samjax.data.classes.class_table import ClassTable
from samjax.data.records.segments import CLASSES

log = logging.getLogger(__name__)

FORMATS = tuple(format for format in Format if format is not Format.SA1B)
"""Those that can be prepared; SA-1B's has a pipeline of its own."""
WITHOUT_OBJECTS = "photos without objects (they train nothing)"
ALL_FOR_TRAINING = Splits()
NO_OPTIONS = FormatOptions()


def prepare(
    annotations: str,
    out: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None,
    format: Format,
    options: FormatOptions = NO_OPTIONS,
    classes: ClassTable | None = None,
    splits: Splits = ALL_FOR_TRAINING,
    allow_missing: bool = False,
    allow_unannotated: bool = False,
    run: LocalRun = ALL_CORES,
    watch: Callable[[PrepareProgress], None] = lambda watched: None,
    progress: Progress = no_progress,
) -> PrepareReport:
    """Write annotated photos as ArrayRecord to the folder `out`, or resume; readers open it once it is complete.

    Annotations are read at every start; only what is not done yet is then read of the photos.

        prepare("cells.json", "records", images="cells", format=Format.COCO, splits=Splits(holdout=0.1))

    Args:
      annotations: the JSON or the folder, a local path.
      out: the folder to make; it holds dataset_info.json at the end, and prepare_report.json. If it is already complete
        from the same annotations and photos, nothing is done.
      images: the local folder of the photos; None for instance PNGs with the photos beside them.
      format: one of `FORMATS`.
      options: of the format.
      classes: of every pixel, for records of segments; None makes records of masks, without classes.
      splits: which photos go to which split.
      allow_missing: leave out and count what is missing or damaged.
      allow_unannotated: take photos without annotations for photos without objects.
      run: on how many processes. The records are the same on any number.
      watch: called periodically with the progress of the photos.
      progress: shows the reading of annotations.

    Raises:
      UserError: as the format's reader, or as `data_pipelines.preparation.prepare`; or a split is without photos.
    """
    settings = f"{format.value} annotations" + splits.description
    if classes is not None:
        settings += f", {len(classes.classes):,} classes ({hashlib.sha256(classes.to_json().encode()).hexdigest()[:8]})"
        if format is Format.LABEL_MAPS:
            options = dataclasses.replace(options, objects=Objects.CLASSES)
    find = functools.partial(
        _find_units,
        images=None if images is None else os.fspath(images),
        format=format,
        options=options,
        classes=classes,
        splits=splits,
        allowances={"allow_missing": allow_missing, "allow_unannotated": allow_unannotated},
        settings=settings,
        progress=progress,
    )
    layout = Layout(
        kind=ANNOTATED if classes is None else SEGMENTED,
        find_units=find,
        files={} if classes is None else {CLASSES: classes.to_json()},
        expectation="annotated photos",
        settings=settings,
        splits=splits.names,
        option="--images",
    )
    return preparation.prepare(annotations, out, layout=layout, run=run, watch=watch)


def _find_units(
    annotations: str | Sequence[str],
    *,
    images: str | None,
    format: Format,
    options: FormatOptions,
    classes: ClassTable | None,
    splits: Splits,
    allowances: Mapping[str, bool],
    settings: str,
    progress: Progress,
) -> list[FolderUnit]:
    assert isinstance(annotations, str)
    store = None if images is None else ImageFolder(images)
    read = read_all_photos(
        annotations,
        format=format,
        images=store,
        options=options,
        keep_crowds=classes is not None,
        progress=progress,
        **allowances,
    )
    folder = Path(os.path.abspath(Path(annotations).expanduser() if store is None else store.path))
    every_path = [photo.path for photo in (*read.with_objects, *read.without_objects)]
    unknown = check_list(splits.holdout_names, every_path, allow_missing=allowances["allow_missing"])
    photos, left_out = _choose(read, splits, folder, classes)
    left_out |= unknown
    if classes is not None:
        every = [photo for chosen in photos.values() for photo in chosen]
        check_categories(every, classes)
        absent = absent_classes(every, classes)
        if len(absent) == len(classes.classes):
            raise UserError("no photo has a pixel of any class: the table ignores all that the annotations have")
        if absent:
            names = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
            log.warning("No photo has the classes %s: a model cannot learn them.", printable(names))
    make = functools.partial(AnnotatedUnit, classes=classes)
    return make_units(make, photos, folder=folder, left_out=left_out, settings=settings)


def _choose(
    read: AllPhotos, splits: Splits, folder: Path, classes: ClassTable | None
) -> tuple[dict[str, list[AnnotatedPhoto]], dict[str, int]]:
    """Return the photos of each split, by image id, and how much is left out.

    Raises:
      UserError: a split has none.
    """
    left_out = dict(read.left_out)
    found: dict[str, list[AnnotatedPhoto]] = {split: [] for split in splits.names}
    listed = sorted([*read.with_objects, *read.without_objects], key=lambda photo: photo.id)
    is_class = classes is not None and bool(classes.background)  # what no object covers, in photos without any too
    for photo in _numbered(listed, folder, with_classes=classes is not None):
        split = splits.split_of(photo.path)
        if photo.masks or is_class or not splits.trains(split):
            found[split].append(photo)
        else:
            left_out[WITHOUT_OBJECTS] = left_out.get(WITHOUT_OBJECTS, 0) + 1
    counts = "; ".join(f"{count:,} {kind}" for kind, count in left_out.items())
    if not read.with_objects:
        raise UserError(f"the annotations have no object that can be used ({counts or 'no photo is listed'})")
    for split, photos in found.items():
        if not any(photo.masks for photo in photos):
            raise UserError(
                f"none of the {len(read.with_objects):,} photos with objects falls into the split {split}, as their "
                f"names decide: {splits.remedy}"
            )
    return found, left_out


def _numbered(photos: Sequence[Photo], folder: Path, *, with_classes: bool) -> Iterator[AnnotatedPhoto]:
    """Yield the photos with ids that records can hold: their own, where all of them fit."""
    own_images = all(photo.id < 2**31 for photo in photos)
    own_masks = all(mask.id < 2**63 for photo in photos for mask in photo.instances)
    for own, what in ((own_images, "image ids are above 31 bits: photos"), (own_masks, "ids are above 63 bits: masks")):
        if not own:
            log.warning("Some %s are numbered from 1.", what)
    masks = 0
    for place, photo in enumerate(photos, 1):
        objects = tuple(
            ObjectMask(
                id=one.id if own_masks else masks + number,
                counts=one.segmentation["counts"],
                category=one.category if with_classes else None,
                crowd=with_classes and one.crowd,
            )
            for number, one in enumerate(photo.instances, 1)
        )
        masks += len(objects)
        yield AnnotatedPhoto(
            path=_relative(photo.path, folder),
            image_id=photo.id if own_images else place,
            height=photo.height,
            width=photo.width,
            masks=objects,
        )


def _relative(path: str, folder: Path) -> str:
    """Return where a photo is in the folder: a JSON may give it from the root of the file system."""
    return PurePosixPath(os.path.relpath(path, folder) if os.path.isabs(path) else path).as_posix()
