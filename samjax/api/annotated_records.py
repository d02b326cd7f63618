"""Records of annotated photos, from Python."""

import os
from pathlib import Path

from data_pipelines import annotated_photos
from data_pipelines.holdout import Splits
from data_pipelines.holdout_list import read_photo_list
from data_pipelines.prepare_report import PrepareReport
from samjax.core.errors import UserError
from samjax.core.overrides import replace_fields
from samjax.data.annotations.formats import Format, FormatOptions
from samjax.data.classes.class_table import read_class_table


def prepare(
    annotations: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    format: str = "coco",
    classes: str | os.PathLike[str] | None = None,
    holdout: float | None = None,
    holdout_list: str | os.PathLike[str] | None = None,
    allow_missing: bool = False,
    allow_unannotated: bool = False,
    **options,
) -> PrepareReport:
    """Write annotated photos as records to train on, as `samjax data prepare --format` does, or resume.

        samjax.prepare("cells.json", "my_records", images="cells", holdout=0.1)

    Args:
      annotations: the JSON, or the folder of maps or masks.
      out: folder to write; nothing is done if it is complete.
      images: folder of the photos; None for instance PNGs with the photos beside them.
      format: `coco` (LVIS too), `label-maps`, `panoptic` or `instance-pngs`.
      classes: keeps each pixel's class: the name of a known data set, such as `ade20k`, or a JSON file.
      holdout: share of the photos, chosen by a hash of their names, that makes the split `val`; None makes none.
      holdout_list: a file that names the photos of the split `val`, one a line; in place of a share.
      allow_missing: leave out and count missing or damaged photos and annotations, instead of refusing.
      allow_unannotated: take photos without annotations for photos without objects.
      options: of the format, see `samjax.data.annotations.formats.FormatOptions`.

    Raises:
      UserError: data cannot be used, a split is without photos, or an argument does not fit; the message says which.
    """
    listed: frozenset[str] = frozenset() if holdout_list is None else read_photo_list(Path(holdout_list))
    return annotated_photos.prepare(
        os.fspath(annotations),
        out,
        images=images,
        format=_format(format),
        options=replace_fields(FormatOptions(), options),
        classes=None if classes is None else read_class_table(os.fspath(classes)),
        splits=Splits(holdout=holdout, holdout_names=listed),
        allow_missing=allow_missing,
        allow_unannotated=allow_unannotated,
    )


def _format(name: str) -> Format:
    """Return the format called `name`.

    Raises:
      UserError: it cannot be prepared.
    """
    names = [one.value for one in annotated_photos.FORMATS]
    if name not in names:
        raise UserError(f"format is {name!r}; give one of {', '.join(names)}")
    return Format(name)
