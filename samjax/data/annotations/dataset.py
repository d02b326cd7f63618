"""What a protocol evaluates on, whatever format it came in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from samjax.data.masks import rle

ReadPhoto = Callable[[], UInt8[np.ndarray, "h w 3"]]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One object of a photo."""

    id: int
    """Of the annotation, unique in its data set."""
    segmentation: dict[str, Any]
    """Compressed COCO run lengths at the photo's size: `{"size": [h, w], "counts": text}`, checked."""
    category: int = 1
    crowd: bool = False
    """A region of many objects: never prompted, and no prediction on it is held against a model."""

    @property
    def area(self) -> int:
        """The pixels inside, counted without drawing them."""
        height, width = self.segmentation["size"]
        return rle.area(rle.parse_runs(self.segmentation["counts"], height=height, width=width))

    def mask(self) -> Bool[np.ndarray, "h w"]:
        """Return the pixels inside."""
        height, width = self.segmentation["size"]
        return rle.decode(self.segmentation["counts"], height=height, width=width)


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo and its objects; its pixels are read when they are asked for."""

    id: int
    name: str
    """What messages and tables call it: its file's name."""
    path: str = field(default="", compare=False)
    """What the place of the photos calls it: its path in the folder, or its record's file name."""
    height: int
    width: int
    instances: tuple[Instance, ...]
    read: ReadPhoto = field(repr=False, compare=False)
    """Returns the pixels, height x width, as stored: masks lie on these, whatever EXIF says.

    Raises:
      UserError: the photo cannot be read, or is not of its size.
    """

    def fingerprint(self) -> str:
        """Return in a line all that an evaluation depends on, except the pixels."""
        masks = " ".join(
            f"{one.id}:{one.category}:{one.crowd:d}:{one.segmentation['counts']}" for one in self.instances
        )
        return f"{self.id} {self.height}x{self.width} {self.name} {masks}"

    @property
    def objects(self) -> tuple[Instance, ...]:
        """The instances that are no crowd."""
        return tuple(instance for instance in self.instances if not instance.crowd)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The photos of one data set that have something to evaluate, in the order of their ids."""

    name: str
    photos: Sequence[Photo]
    categories: Mapping[int, str]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What of the data is not in `photos`, and how much of it: written into the results."""

    @property
    def masks(self) -> int:
        """How many objects the photos have, crowds not counted."""
        return sum(len(photo.objects) for photo in self.photos)
