"""Records without data: procedural photos with nested masks, for load tests and for runs on a machine with no photos.

`synthetic:` stands where a folder of records would, with parameters after the colon:

    --data.source synthetic:                                  photos of SA-1B's size, 100 masks on average
    --data.source synthetic:photos=64,size=256x384,masks=20   small ones

A record is a function of the seed, the split and its index alone, and is encoded as files are: the whole stream runs.
"""

import dataclasses
import difflib
import io
import math
import re
from typing import Annotated, Any, SupportsIndex

import numpy as np
from pycocotools import mask as coco

from samjax.core.errors import UserError
from samjax.core.ranges import Pixels, Range, Seed, config_class
from samjax.data.masks.rle import MAX_PIXELS
from samjax.data.records import masks as records
from samjax.data.synthetic.drawing import SyntheticPhoto, draw_photo

PREFIX = "synthetic:"

_FIRST_NUMBERS = {"train": 0, "val": 1_000_000_000}
"""Photos are numbered, and the splits are stretches of the numbers: none is in both. A number is also the image id."""

_MOST_PHOTOS = 1_000_000_000
_SIDES = (32, 65_500)  # a JPEG's longest is 65,535
_MASK_SPREAD = 0.45  # of the logarithm of the masks a photo has
_ASPECTS = ((3 / 2, 0.4), (4 / 3, 0.3), (16 / 9, 0.1), (5 / 4, 0.1), (1.0, 0.1))
_PORTRAIT = 0.3
_QUALITY = 92  # about 0.7 MB at 1,500 x 2,250; a photo of SA-1B is about 0.9 MB


@config_class("synthetic")
class SyntheticConfig:
    """Which synthetic photos there are; the names of the fields are those of the parameters after `synthetic:`."""

    photos: Annotated[int, Range(at_least=1, at_most=_MOST_PHOTOS, why="the splits share their numbers")] = 1_000
    """Records of each split."""
    size: Pixels | tuple[Pixels, Pixels] = 1_500
    """Shortest side, the aspect ratio varying as cameras' do, or (height, width) of every photo, written `HxW`."""
    masks: Annotated[int, Range(at_least=1, at_most=1_000, why="each is drawn")] = 100
    """Masks of a photo, on average; photos of few pixels have fewer."""
    seed: Seed = 0
    """Fixes the photos."""
    keep: Annotated[int, Range(at_least=0, at_most=_MOST_PHOTOS, why="it counts photos")] = 64
    """Photos of each split kept encoded in memory once drawn, in each process that reads: drawing one of 1,500 x 2,250
    takes a fifth of a second. With `photos` at most `keep` only the first epoch draws."""

    def __post_init__(self):
        sides = (self.size, round(2 * self.size)) if isinstance(self.size, int) else self.size
        if min(sides) < _SIDES[0] or max(sides) > _SIDES[1] or math.prod(sides) > MAX_PIXELS:
            raise UserError(
                f"synthetic size is {_size_text(self.size)}: give sides of {_SIDES[0]} to {_SIDES[1]:,} pixels, and at "
                f"most {MAX_PIXELS:,} pixels in all"
            )

    def __str__(self) -> str:
        """Return the source's name, as `parse_synthetic` reads it."""
        return (
            f"{PREFIX}photos={self.photos},size={_size_text(self.size)},masks={self.masks},seed={self.seed},"
            f"keep={self.keep}"
        )


def is_synthetic(path: str) -> bool:
    """Return whether `path` asks for synthetic photos instead of naming a place."""
    return path.startswith(PREFIX)


def parse_synthetic(path: str) -> SyntheticConfig:
    """Return what `synthetic:NAME=VALUE,...` asks for.

    Raises:
      UserError: a parameter that is not there, is given twice or has a value that cannot be used.
    """
    names = [field.name for field in dataclasses.fields(SyntheticConfig)]
    values: dict[str, Any] = {}
    for item in filter(None, path.removeprefix(PREFIX).split(",")):
        name, _, text = item.partition("=")
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            raise UserError(f"{path}: there is no parameter {name!r}: {hint}")
        if name in values:
            raise UserError(f"{path}: {name} is given twice: leave one out")
        if not re.fullmatch(r"\d{1,12}(x\d{1,12})?" if name == "size" else r"\d{1,12}", text):
            form = "a number, or HEIGHTxWIDTH," if name == "size" else "a number"
            raise UserError(f"{path}: {name} is {text!r}: give {form} as in {PREFIX}photos=1000,size=1500x2250")
        height, _, width = text.partition("x")
        values[name] = (int(height), int(width)) if width else int(height)
    return SyntheticConfig(**values)


class SyntheticSource:
    """Random access to the encoded records of synthetic photos; a `samjax.data.stream.sources.RecordSource`."""

    def __init__(self, config: SyntheticConfig, *, split: str):
        """Draw nothing yet.

        Args:
          config: which photos there are.
          split: `train`, `val`, or both as `train+val`.

        Raises:
          UserError: another split.
        """
        for name in split.split("+"):
            if name not in _FIRST_NUMBERS:
                raise UserError(f"{config} has no split {name!r}: it has {', '.join(_FIRST_NUMBERS)}")
        self.name = f"{config} {split}"
        self._config = config
        self._first_numbers = [_FIRST_NUMBERS[name] for name in split.split("+")]
        self._kept: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._config.photos * len(self._first_numbers)

    def __getitem__(self, index: SupportsIndex) -> bytes:
        """Return the bytes of record `index`."""
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} records, no record {index}")
        part, place = divmod(index, self._config.photos)
        number = self._first_numbers[part] + place
        if (kept := self._kept.get(number)) is not None:
            return kept
        data = records.encode_record(draw_record(self._config, number))
        if place < self._config.keep:
            self._kept[number] = data
        return data

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}  # worker processes draw their own

    def __repr__(self) -> str:
        return f"SyntheticSource({self.name})"


def draw_record(config: SyntheticConfig, number: int) -> records.Record:
    """Return photo `number` of all that `config` describes; it depends on the seed, the number, size and masks."""
    rng = np.random.default_rng([config.seed, number])
    size = config.size if isinstance(config.size, tuple) else _draw_size(rng, shortest=config.size)
    spread = rng.normal(-(_MASK_SPREAD**2) / 2, _MASK_SPREAD)  # so that the mean is 1
    masks = round(config.masks * min(math.exp(spread), 4.0))
    photo = draw_photo(rng, size=size, masks=masks)
    file = io.BytesIO()
    photo.image.save(file, format="JPEG", quality=_QUALITY)
    return records.Record(
        image_id=number,
        file_name=f"sa_{number}.jpg",
        height=size[0],
        width=size[1],
        jpeg=file.getvalue(),
        annotations=_annotations(rng, photo, number=number),
    )


def _annotations(rng: np.random.Generator, photo: SyntheticPhoto, *, number: int) -> tuple[records.Annotation, ...]:
    width, height = photo.image.size
    coded: Any = coco.frPyObjects(
        [{"size": [height, width], "counts": mask.runs.tolist()} for mask in photo.masks], height, width
    )
    return tuple(
        records.Annotation(
            id=number * 10_000 + index,
            counts=code["counts"].decode("ascii"),
            area=mask.area,
            bbox=(mask.box[0] / height, mask.box[1] / width, mask.box[2] / height, mask.box[3] / width),
            crop_box=(0.0, 0.0, 1.0, 1.0),
            point=(float(mask.point[0]), float(mask.point[1])),
            predicted_iou=float(rng.uniform(0.88, 1.0)),  # what SA-1B's filters let through
            stability_score=float(rng.uniform(0.95, 1.0)),
        )
        for index, (mask, code) in enumerate(zip(photo.masks, coded, strict=True))
    )


def _draw_size(rng: np.random.Generator, *, shortest: int) -> tuple[int, int]:
    """Return (height, width): a camera's format, lying or upright."""
    aspects, chances = zip(*_ASPECTS, strict=True)
    longest = round(shortest * float(rng.choice(aspects, p=chances)))
    return (longest, shortest) if rng.random() < _PORTRAIT else (shortest, longest)


def _size_text(size: int | tuple[int, int]) -> str:
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"
