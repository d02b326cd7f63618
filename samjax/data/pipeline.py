"""From records to examples, through grain: global shuffle, mask draw, decoding in threads or worker processes.

Nothing here raises for a bad record: it becomes a `Dropped` that travels through grain like any example, also out of a
worker process, to be counted where the stream is consumed.
"""

import dataclasses
import enum
import math
import sys
from typing import Any, NamedTuple, SupportsIndex

import absl.flags
import grain
import numpy as np
from jaxtyping import Int, UInt8

from samjax.core.errors import UserError
from samjax.data import records, rle, transforms
from samjax.data.resample import MaskGrid
from samjax.data.sampling import LeftOut, MaskRules, draw_masks
from samjax.data.sources import RecordSource


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the photos are, which of their masks are used, and how they are loaded."""

    source: str
    """Folder prepared by `data_pipelines.sa1b`, or by TFDS in its segment_anything schema."""
    split: str = "train"
    """Split of that data set, or several as `train+extra`."""
    max_masks: int = 64
    """Mask slots of a photo; where it has more, this many are drawn afresh each epoch."""
    max_area_fraction: float = 0.9
    """Masks that cover more than this share of the photo are left out."""
    min_area_fraction: float = 0.0
    """Masks that cover less than this share of the photo are left out."""
    min_area: int = 0
    """Masks of fewer pixels of the photo are left out."""
    min_predicted_iou: float = 0.0
    """Masks whose predicted IoU is below are left out; 0 asks for nothing."""
    min_stability_score: float = 0.0
    """Masks whose stability score is below are left out; 0 asks for nothing."""
    threads: int = 8
    """Threads that read and decode, in each worker process."""
    workers: int = 0
    """Worker processes that read and decode; 0 does it in threads of this process."""
    prefetch_photos: int = 32
    """Decoded photos held ready, in each worker process."""
    prefetch_batches: int = 2
    """Batches assembled ahead of the step."""

    def check(self) -> None:
        """Raise UserError where a value cannot be used."""
        for name, least in (
            ("max_masks", 1),
            ("threads", 1),
            ("workers", 0),
            ("prefetch_photos", 1),
            ("prefetch_batches", 1),
        ):
            if getattr(self, name) < least:
                raise UserError(f"data {name} is {getattr(self, name)}: give at least {least}")
        self.rules().check()

    def rules(self) -> MaskRules:
        """Return which masks can be used."""
        return MaskRules(**{field.name: getattr(self, field.name) for field in dataclasses.fields(MaskRules)})


class Example(NamedTuple):
    """One photo ready for a batch; a NamedTuple, so that grain moves its arrays through shared memory."""

    image: UInt8[np.ndarray, "h w 3"]
    valid_size: Int[np.ndarray, "2"]
    masks: UInt8[np.ndarray, "drawn h packed_w"]
    record_id: int
    left_out: LeftOut


class Fault(enum.Enum):
    """Why a record gives no example."""

    CORRUPT = "corrupt"
    NO_MASKS = "no usable mask"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dropped:
    """A record that gives no example. `name` is its image id where that could be read, else its place."""

    name: str
    fault: Fault
    reason: str
    left_out: LeftOut = LeftOut()


class Located:
    """A source for grain whose records know their place, and whose unreadable ones are a RecordError's text."""

    def __init__(self, source: RecordSource):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: SupportsIndex) -> tuple[int, bytes | str]:
        try:
            return int(index), self._source[index]
        except records.RecordError as error:
            return int(index), str(error)

    def __repr__(self) -> str:
        return repr(self._source)


class MakeExample:
    """Decodes a record, fits its photo to the model's frame and draws its masks."""

    def __init__(self, config: DataConfig, *, image_size: tuple[int, int]):
        self._max_masks = config.max_masks
        self._rules = config.rules()
        self._frame = image_size

    def __call__(self, element: tuple[int, bytes | str], rng: np.random.Generator) -> Example | Dropped:
        """Return the example of a located record, or why there is none."""
        place, data = element
        name = f"record {place}"
        if isinstance(data, str):
            return Dropped(name=name, fault=Fault.CORRUPT, reason=data)
        try:
            record = records.decode_record(data)
            name = f"record {place} (image {record.image_id})"
            size = (record.height, record.width)
            with transforms.open_photo(record.jpeg, height=record.height, width=record.width) as photo:
                framed = transforms.frame_photo(photo, frame=self._frame)
            grid = MaskGrid.fitted(height=size[0], width=size[1], size=framed.valid_size, frame=self._frame)
            masks = draw_masks(
                record.annotations, rng, size=size, grid=grid, rules=self._rules, max_masks=self._max_masks
            )
        except (records.RecordError, transforms.PhotoError, rle.RleError) as error:
            return Dropped(name=name, fault=Fault.CORRUPT, reason=str(error))
        if not len(masks.packed):
            reason = f"no usable mask: {masks.left_out}"
            return Dropped(name=name, fault=Fault.NO_MASKS, reason=reason, left_out=masks.left_out)
        return Example(
            image=framed.image,
            valid_size=np.array(framed.valid_size, np.int32),
            masks=masks.packed,
            record_id=record.image_id,
            left_out=masks.left_out,
        )


class Rows(grain.transforms.DatasetSelectionMap):
    """Which places of the global order this process reads: its rows of every global batch, from `start` on.

    The global order, and so the content of every batch, is then the same on any number of processes.
    """

    def __init__(self, rows: Int[np.ndarray, "local"], *, batch_size: int, start: int = 0, stop: int | None = None):
        self._rows = [int(row) for row in rows]
        self._batch_size = batch_size
        self._start = start
        self._length = sys.maxsize - start if stop is None else stop - start

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[int, int]:
        return 0, self.place(index)

    def place(self, index: int) -> int:
        """Return the place in the global order of this process's record `index`, counted from `start`."""
        batch, row = divmod(self._start + index, len(self._rows))
        return batch * self._batch_size + self._rows[row]


def shuffled(source: RecordSource, make: MakeExample, *, seed: int) -> grain.MapDataset[Any]:
    """Return the endless global order: every epoch all records once, in an order and with masks drawn anew."""
    located: Any = Located(source)
    return grain.MapDataset.source(located).seed(seed).shuffle().repeat().random_map(make)


def in_order(source: RecordSource, make: MakeExample) -> grain.MapDataset[Any]:
    """Return the records in their order, with always the same masks."""
    located: Any = Located(source)
    return grain.MapDataset.source(located).seed(0).random_map(make)


def read(dataset: grain.MapDataset[Any], rows: Rows, config: DataConfig) -> grain.DatasetIterator[Any]:
    """Return an iterator over this process's part of `dataset`, decoded ahead; close it after use."""
    mine = grain.MapDataset.select_from_datasets([dataset], rows)
    elements = mine.to_iter_dataset(
        grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch_photos)
    )
    if config.workers:
        if not absl.flags.FLAGS.is_parsed():  # grain reads its settings there; our command line is not absl's
            absl.flags.FLAGS.mark_as_parsed()
        per_worker = math.ceil(config.prefetch_photos / config.workers)
        elements = elements.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=config.workers, per_worker_buffer_size=per_worker)
        )
    return iter(elements)
