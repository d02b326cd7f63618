"""The part of `samjax data prepare` for annotated photos: COCO, LVIS, label maps, panoptic, instance PNGs, depth."""

import argparse
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from samjax.cli.arguments import real_number, refuse_any
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError

FORMATS = ("coco", "label-maps", "panoptic", "instance-pngs")
"""Those of `samjax.data.annotations.formats`, but for SA-1B's; listed so that `--help` imports nothing."""
DEPTH = "depth"
WITH_ANNOTATIONS = (*FORMATS, DEPTH)
_OF_DEPTH = ("depth_scale", "depth_kind")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of annotated photos."""
    from data_pipelines.depth_photos import SCALE
    from data_pipelines.holdout import SHARE
    from samjax.data.annotations.formats import FormatOptions

    fields = [field.name for field in dataclasses.fields(FormatOptions) if field.name != "split"]
    options = " ".join(f"--{name.replace('_', '-')}" for name in fields)
    group = parser.add_argument_group(
        "annotated photos",
        f"--format {' | '.join(WITH_ANNOTATIONS)}. Options of formats, as `samjax evaluate` takes: {options}",
    )
    group.add_argument("--annotations", metavar="PATH", help="the JSON, or the folder of maps or masks")
    group.add_argument("--images", metavar="DIR", help="the folder of the photos")
    group.add_argument(
        "--classes",
        metavar="TABLE",
        help="keep each pixel's class, for semantic segmentation: the name of a known data set, such as ade20k, or a "
        "JSON file (docs/semantic.md); `annotations` takes the categories of a COCO or panoptic JSON",
    )
    group.add_argument(
        "--names",
        metavar="FILE",
        help="label maps: the list of their values' names, `12: bench` a line, by which the classes of --classes find "
        "their values, as Pascal Context's labels.txt; all others are ignored",
    )
    group.add_argument(
        "--holdout",
        type=real_number("--holdout", SHARE),
        metavar="SHARE",
        help="put this share of the photos, chosen by a hash of their names, into the split val",
    )
    group.add_argument(
        "--holdout-list",
        metavar="FILE",
        help="put the photos that this file names, one a line, into the split val, as Pascal VOC's val.txt",
    )
    group.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out and count missing or damaged photos and annotations, instead of refusing to run",
    )
    group.add_argument(
        "--allow-unannotated",
        action="store_true",
        help="take photos without a label map or a folder of masks for photos without objects; leave out and count "
        "those without a depth map",
    )
    group.add_argument(
        "--depth-scale",
        type=real_number("--depth-scale", SCALE),
        metavar="N",
        help="numbers of a depth map per metre: 256 for KITTI, 1000 for millimetres (default: 1)",
    )
    group.add_argument(
        "--depth-kind",
        choices=("metres", "inverse"),
        help="what depth maps hold: distances, or inverse distances such as disparities (default: metres)",
    )


def refuse_options(known: argparse.Namespace) -> None:
    """Refuse what was given of these options, for a format that has none of them.

    Raises:
      UserError: there is one.
    """
    names = ("annotations", "images", "classes", "names", "holdout", "holdout_list")
    names += ("allow_missing", "allow_unannotated", *_OF_DEPTH)
    refuse_any(known, names, f"annotated photos: give --format, one of {', '.join(WITH_ANNOTATIONS)}, too")


def preparer(known: argparse.Namespace, rest: list[str]) -> Callable[..., Any]:
    """Return what prepares annotated photos, given `run` and `watch`.

    Raises:
      UserError: an option is missing, or is for something else.
    """
    from data_pipelines import annotated_photos
    from samjax.cli.train import override
    from samjax.data.annotations.formats import Format, FormatOptions

    if known.source:
        raise UserError(f"--source is not for --format {known.format}: give --annotations and --images")
    if not known.annotations:
        raise UserError(f"--format {known.format} needs --annotations, and --images for the photos")
    if known.runner:
        raise UserError(f"--runner is not for --format {known.format}, whose photos are read here: leave it out")
    options = override(FormatOptions(), rest, command="data prepare")
    if known.format == DEPTH:
        return _depth_preparer(known, options)
    refuse_any(known, _OF_DEPTH, f"depth maps: give --format {DEPTH} too")

    def prepare(**where: Any) -> Any:
        return annotated_photos.prepare(
            known.annotations,
            known.out,
            images=known.images,
            format=Format(known.format),
            options=options,
            classes=_classes(known),
            splits=_splits(known),
            allow_missing=known.allow_missing,
            allow_unannotated=known.allow_unannotated,
            progress=progress,
            **where,
        )

    return prepare


def _depth_preparer(known: argparse.Namespace, options: Any) -> Callable[..., Any]:
    """Return what prepares photos with depth, given `run` and `watch`; `options` are the `FormatOptions`.

    Raises:
      UserError: an option is missing, or is for something else.
    """
    from data_pipelines import depth_photos
    from samjax.data.annotations.formats import FormatOptions
    from samjax.data.records.depths import DepthKind

    refuse_any(known, ("classes", "names"), "classes of pixels, and depth maps have none: leave it out")
    if not known.images:
        raise UserError(f"--format {DEPTH} needs --images, the folder of the photos")
    kept = dataclasses.replace(
        FormatOptions(),
        photo_suffix=options.photo_suffix,
        map_suffix=options.map_suffix,
        photos_from=options.photos_from,
    )
    if options != kept:
        raise UserError(
            f"--format {DEPTH} takes --photo-suffix, --map-suffix and --photos-from alone: leave others out"
        )
    kind = DepthKind.METRES if known.depth_kind is None else DepthKind(known.depth_kind)
    return functools.partial(
        depth_photos.prepare,
        known.annotations,
        known.out,
        images=known.images,
        of=depth_photos.DepthUnits(kind=kind, scale=1.0 if known.depth_scale is None else known.depth_scale),
        options=options,
        splits=_splits(known),
        allow_missing=known.allow_missing,
        allow_unannotated=known.allow_unannotated,
        progress=progress,
    )


def _splits(known: argparse.Namespace) -> Any:
    """Return which photos go to which split.

    Raises:
      UserError: the list cannot be read, or two options contradict each other.
    """
    from data_pipelines.holdout import Splits
    from data_pipelines.holdout_list import read_photo_list

    listed = read_photo_list(known.holdout_list) if known.holdout_list else frozenset()
    return Splits(name=known.split, holdout=known.holdout, holdout_names=listed)


def _classes(known: argparse.Namespace) -> Any:
    """Return the table of classes, None where only masks are kept.

    Raises:
      UserError: it cannot be read.
    """
    from samjax.data.annotations.category_classes import read_categories
    from samjax.data.classes.class_table import read_class_table
    from samjax.data.classes.value_names import read_value_names, with_values_of

    if known.names and (not known.classes or known.format != "label-maps"):
        raise UserError("--names is of the values of label maps: give --format label-maps and --classes with it")
    if not known.classes:
        return None
    if known.classes == "annotations":
        if known.format not in ("coco", "panoptic"):
            raise UserError(f"--classes annotations is for coco and panoptic, not {known.format}: it has no categories")
        return read_categories(known.annotations)
    table = read_class_table(known.classes)
    return with_values_of(table, read_value_names(known.names), origin=known.names) if known.names else table
