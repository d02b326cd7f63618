"""From records to examples, through grain: global order, mask draw, decoding in threads or worker processes.

Nothing here raises for a bad record: it becomes a `Dropped` that travels through grain like any example, also out of a
worker process, to be counted where the stream is consumed.
"""

import dataclasses
import enum
import math
import sys
from typing import Any, NamedTuple

import absl.flags
import grain
import numpy as np
from jaxtyping import Int, UInt8

from samjax.core.errors import MachineError
from samjax.core.machine_faults import machine_fault
from samjax.data.config import DataConfig
from samjax.data.frame import frame_photo
from samjax.data.masks import rle
from samjax.data.masks.resample import resample
from samjax.data.masks.sampling import LeftOut, draw_masks
from samjax.data.photo import PhotoError
from samjax.data.records import masks as records
from samjax.data.stream.mixture import Located

_NOTHING = LeftOut()


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
    MACHINE = "the machine failed"
    """It says nothing of the record: the stream stops."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dropped:
    """A record that gives no example. `name` is its source and place, and its image id where that could be read."""

    name: str
    fault: Fault
    reason: str
    left_out: LeftOut = _NOTHING


class MakeExample:
    """Decodes a record, fits a view of its photo to the model's frame and draws its masks."""

    def __init__(self, config: DataConfig, *, image_size: tuple[int, int]):
        self._max_masks = config.max_masks
        self._mask_rules = config.mask_rules()
        self._view_rules = config.view_rules()
        self._decoding = config.decoding
        self._frame = image_size

    def __call__(self, located: Located, rng: np.random.Generator) -> Example | Dropped:
        """Return the example of a record, or why there is none."""
        name = located.name
        try:
            if isinstance(located.data, Exception):
                raise located.data
            record = records.decode_record(located.data)
            name = f"{name} (image {record.image_id})"
            size = (record.height, record.width)
            view = self._view_rules.draw(rng, photo=size, frame=self._frame)
            masks = draw_masks(
                record.annotations,
                rng,
                size=size,
                grid=view.grid(self._frame),
                rules=self._mask_rules,
                max_masks=self._max_masks,
            )
            # After the masks, which are cheaper to find broken; also of a photo without masks, to count it as corrupt.
            image = frame_photo(record.jpeg, view=view, frame=self._frame, decoding=self._decoding)
        except MachineError as error:
            return Dropped(name=name, fault=Fault.MACHINE, reason=str(error))
        except (records.RecordError, PhotoError, rle.RleError, MemoryError) as error:
            if fault := machine_fault(error):
                return Dropped(name=name, fault=Fault.MACHINE, reason=fault)
            return Dropped(name=name, fault=Fault.CORRUPT, reason=str(error))
        if not len(masks.packed):
            reason = f"no usable mask: {masks.left_out}"
            return Dropped(name=name, fault=Fault.NO_MASKS, reason=reason, left_out=masks.left_out)
        return Example(
            image=image,
            valid_size=np.array(view.window, np.int32),
            masks=masks.packed,
            record_id=record.image_id,
            left_out=masks.left_out,
        )


class Rows(grain.transforms.DatasetSelectionMap):
    """Which places of the global order this process reads: its rows of every global batch, from a step on.

    The global order, and so the content of every batch, is then the same on any number of processes, and a step's
    place in it is known without having read what comes before.
    """

    def __init__(self, rows: Int[np.ndarray, "local"], *, batch_size: int, step: int = 0, stop: int | None = None):
        self._rows = [int(row) for row in rows]
        self._batch_size = batch_size
        self._start = step * len(self._rows)
        self._length = (sys.maxsize if stop is None else stop) - self._start

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[int, int]:
        batch, row = divmod(self._start + index, len(self._rows))
        return 0, batch * self._batch_size + self._rows[row]


def read(dataset: grain.MapDataset[Any], rows: Rows, config: DataConfig) -> grain.DatasetIterator[Any]:
    """Return an iterator over this process's part of `dataset`, decoded ahead; close it after use."""
    mine = grain.MapDataset.select_from_datasets([dataset], rows)
    elements = mine.to_iter_dataset(
        grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch_photos)
    )
    if config.workers:
        if not absl.flags.FLAGS.is_parsed():  # grain reads its settings there; our command line is not absl's
            absl.flags.FLAGS.mark_as_parsed()
        resample("1", height=1, width=1, size=(1, 1))  # compiled here once, and found on disk by every worker
        per_worker = math.ceil(config.prefetch_photos / config.workers)
        elements = elements.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=config.workers, per_worker_buffer_size=per_worker)
        )
    return iter(elements)
