"""Formats of data sets, and the options of their readers."""

import enum
from typing import Annotated

from samjax.core.ranges import Range, config_class


class Format(enum.Enum):
    """How annotations are stored."""

    COCO = "coco"
    """One JSON for all photos, as COCO and LVIS have it."""
    SA1B = "sa1b"
    """Records made by `samjax data prepare`."""
    LABEL_MAPS = "label-maps"
    """One PNG or MATLAB file per photo, whose pixels are object numbers."""
    PANOPTIC = "panoptic"
    """COCO's panoptic JSON and the PNGs it names."""
    INSTANCE_PNGS = "instance-pngs"
    """One folder per photo, with one PNG per object."""


class Objects(enum.Enum):
    """What one object of a label map is."""

    VALUES = "values"
    """All pixels of one value."""
    CONNECTED = "connected"
    """Pixels of any value that touch, corners too."""
    CLASSES = "classes"
    """All pixels of one value, which is their class; no value is background or ignored."""
    WHOLE = "whole"
    """All pixels of any value: a photo has one object."""


_Value = Annotated[int, Range(at_least=0, why="it is the value of a pixel")]


@config_class("")
class FormatOptions:
    """Options of formats; each names the formats that use it."""

    split: str | None = None
    """`sa1b`: the split of the prepared folder; None where it has one only."""
    things_only: bool = False
    """`panoptic`: segments of countable categories alone."""
    objects: Objects = Objects.VALUES
    """`label-maps`: what one object is."""
    background: _Value = 0
    """`label-maps`: the value of pixels that are of no object."""
    ignore: _Value | None = None
    """`label-maps`: another such value, of pixels nobody judged."""
    class_base: Annotated[int, Range(at_least=1, why="a class has that many numbers")] | None = None
    """`label-maps`: values are class x `class_base` + number, and smaller ones regions that are no objects, as
    Cityscapes' instance ids are with 1000."""
    photo_suffix: str = ""
    """`label-maps`, `depth`, `instance-pngs`, `panoptic`: what photos' names end on beside what maps' names have, with
    the dot: `_rgb.png`. Empty for any picture."""
    map_suffix: str = ".png"
    """`label-maps`, `depth`: what maps' names end on beside what photos' names have, with the dot: `_label.png`.
    `.mat` reads the matrix `LabelMap` of MATLAB files, for label maps alone."""
    photos_from: tuple[str, ...] = ()
    """`label-maps`, `depth`: how the names of photos and maps that belong to the data set begin; empty for all in the
    folder."""
    masks_from: tuple[str, ...] = ()
    """`instance-pngs`: how the names of masks begin; empty for every PNG in a photo's folder."""
