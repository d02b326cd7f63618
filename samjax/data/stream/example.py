"""What a task makes of a record, and what is reported about a record that gives no example.

Nothing here raises for a bad record: it becomes a `DroppedRecord`, which travels through grain like any example, out
of worker processes too, and is counted where the stream is consumed.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from samjax.core.errors import MachineError
from samjax.core.machine_faults import machine_fault
from samjax.data.masks.rle import RleError
from samjax.data.photo import PhotoError
from samjax.data.records.schema import RecordError, Schema

NO_RECORD = -1
"""`record_id` of a row that holds no record."""


class RawRecord(NamedTuple):
    """A record's bytes, or why they cannot be read, and the name to report it by."""

    name: str
    data: bytes | RecordError | MachineError


class Example(NamedTuple):
    """One record's row of a batch; a NamedTuple, so that grain moves its arrays through shared memory."""

    arrays: dict[str, np.ndarray]
    """By field of the batch; an array shorter than the row along its first axis is padded with zeros."""
    record_id: int
    counts: dict[str, int]
    """How much of the record is used and not used, by reason."""


class Fault(enum.Enum):
    """Why a record gives no example."""

    CORRUPT = "corrupt"
    UNUSABLE = "nothing usable in it"
    """Sound, but excluded entirely by the task's rules."""
    MACHINE = "the machine failed"
    """Not the record's fault: the stream stops."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DroppedRecord:
    """A record that gives no example. `name` is its source and place, and its image id where that could be read."""

    name: str
    fault: Fault
    reason: str
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)


class UnusableRecordError(Exception):
    """Raised by a task for a sound record that its rules exclude entirely; `counts` as in an example."""

    def __init__(self, reason: str, counts: Mapping[str, int]):
        super().__init__(reason)
        self.counts = counts


@runtime_checkable
class ExampleMaker(Protocol):
    """A task's interface to its data. It is sent to worker processes, so it must pickle."""

    @property
    def schema(self) -> Schema:
        """What the records hold."""
        ...

    @property
    def batch(self) -> Callable[..., Any]:
        """The struct of a batch, with a field for each array of `row`, and `record_id`."""
        ...

    def row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one row of a batch, by field."""
        ...

    def example(self, record: Any, rng: np.random.Generator) -> Example:
        """Return the example of a decoded record.

        Raises:
          UnusableRecordError: nothing of it can be used.
          RecordError: or PhotoError or RleError: it is corrupt.
        """
        ...


class Decode:
    """Turns a record's bytes into a task's example; grain maps it over the records."""

    def __init__(self, maker: ExampleMaker):
        self._maker = maker

    def __call__(self, located: RawRecord, rng: np.random.Generator) -> Example | DroppedRecord:
        """Return the example of a record, or why there is none."""
        name = located.name
        try:
            if isinstance(located.data, Exception):
                raise located.data
            record = self._maker.schema.decode(located.data)
            name = f"{name} (image {record.image_id})"
            return self._maker.example(record, rng)
        except UnusableRecordError as error:
            return DroppedRecord(name=name, fault=Fault.UNUSABLE, reason=str(error), counts=error.counts)
        except MachineError as error:
            return DroppedRecord(name=name, fault=Fault.MACHINE, reason=str(error))
        except (RecordError, PhotoError, RleError, MemoryError) as error:
            if fault := machine_fault(error):
                return DroppedRecord(name=name, fault=Fault.MACHINE, reason=fault)
            return DroppedRecord(name=name, fault=Fault.CORRUPT, reason=str(error))
