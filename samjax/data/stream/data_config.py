"""Where the records of a run are, and how they are loaded: what every task's data has."""

import dataclasses
from typing import Annotated

from samjax.core.ranges import Count, CountOrNone, Range, config_class


@config_class("data.mixed_in")
class MixedSourceConfig:
    """A data set mixed into the first."""

    source: str
    """Folder, as `DataConfig.source`."""
    split: str = "train"
    """Split of that data set, or several as `train+extra`."""
    weight: Annotated[float, Range(above=0, why="at 0 the data set would not be read")] = 1.0
    """Photos of it for each photo of `DataConfig.source`, to about 1% of the smallest weight."""


@config_class("data")
class DataConfig:
    """Records of any task: a task's own data adds what is used of a record and how it is shown."""

    source: str
    """Folder prepared by `samjax data prepare`, or by TFDS in the task's schema; on the command line also what
    `samjax data prepare` reads, such as tars, which are prepared first."""
    split: str = "train"
    """Split of that data set, or several as `train+extra`."""
    mixed_in: tuple[MixedSourceConfig, ...] = ()
    """Further data sets, each in an endless order of its own, dealt out by weight; that of `source` is 1."""
    threads: Count = 8
    """Threads that read and decode, in each worker process."""
    workers: CountOrNone = 0
    """Worker processes that read and decode; 0 does it in threads of this process."""
    prefetch_photos: Count = 32
    """Decoded photos held ready, in each worker process."""
    prefetch_batches: Count = 2
    """Batches assembled and on their way to the devices ahead of the step."""

    def from_source(self, source: str):
        """Return this with its first data set at `source`."""
        return dataclasses.replace(self, source=source)
