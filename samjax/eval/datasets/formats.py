"""The formats that data sets come in, and what a reader of each must be told."""

import enum
from dataclasses import dataclass


class Format(enum.Enum):
    """How the objects of photos are written down."""

    COCO = "coco"
    """One JSON for all photos, as COCO and LVIS have it."""
    SA1B = "sa1b"
    """Records made by `samjax data prepare`."""
    LABEL_MAPS = "label-maps"
    """A PNG a photo, its pixels the numbers of objects."""
    PANOPTIC = "panoptic"
    """COCO's panoptic JSON and the PNGs it names."""
    INSTANCE_PNGS = "instance-pngs"
    """A folder a photo, with a PNG an object."""


@dataclass(frozen=True, kw_only=True)
class FormatOptions:
    """What a format leaves open; each says which formats ask for it."""

    split: str | None = None
    """`sa1b`: the split of the prepared folder; None where it has one only."""
    things_only: bool = False
    """`panoptic`: segments of countable categories alone."""
    background: int = 0
    """`label-maps`: the value of pixels that are of no object."""
    ignore: int | None = None
    """`label-maps`: another such value, of pixels nobody judged."""
    class_base: int | None = None
    """`label-maps`: values are class x `class_base` + number, and smaller ones whole regions that are no objects, as
    Cityscapes has it with 1000."""
    photo_suffix: str = ""
    """`label-maps`: what photos' names end on, before the dot, that maps' names do not have."""
    map_suffix: str = ""
    """`label-maps`: what maps' names end on, before the dot, that photos' names do not have."""
