"""Where a run's records are and how they are loaded, for every task."""

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
    """Photos from this data set per photo of `DataConfig.source`, accurate to about 1% of the smallest weight."""


@config_class("data")
class DataConfig:
    """Records of any task. A task's subclass adds which parts of a record it uses, and how they are presented."""

    source: str
    """Folder prepared by `samjax data prepare`, or by TFDS in the task's schema; the command line also takes what
    `samjax data prepare` reads, such as tars, and prepares it first."""
    split: str = "train"
    """Split of that data set, or several as `train+extra`."""
    mixed_in: tuple[MixedSourceConfig, ...] = ()
    """Further data sets to mix in, each shuffled separately, with a weight relative to that of `source`, which is 1."""
    threads: Count = 8
    """Threads that read and decode, in each worker process."""
    workers: CountOrNone = 0
    """Worker processes that read and decode; 0 uses threads of this process."""
    prefetch_photos: Count = 32
    """Decoded photos to keep ready, in each worker process."""
    prefetch_batches: Count = 2
    """Batches to assemble and transfer to the devices ahead of the step."""
