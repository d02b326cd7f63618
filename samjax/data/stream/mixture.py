"""The global order of records: one data set or several mixed by weight, as a function of the seed alone."""

from typing import Any, SupportsIndex

import grain
import numpy as np

from samjax.core.errors import MachineError
from samjax.core.machine_faults import raise_open_file_limit
from samjax.data.records.schema import RecordError, Schema
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import Decode, ExampleMaker, RawRecord
from samjax.data.stream.sources import RecordSource, open_source


class Locating:
    """A source for grain: each record carries its name, and an unreadable one carries its error."""

    def __init__(self, source: RecordSource):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: SupportsIndex) -> RawRecord:
        name = f"{self._source.name}, record {int(index)}"
        try:
            return RawRecord(name, self._source[index])
        except (RecordError, MachineError) as error:
            return RawRecord(name, error)

    def __repr__(self) -> str:
        return repr(self._source)


class Mixture:
    """One or more sources, with weights: photos from each per photo from the first."""

    def __init__(self, sources: list[RecordSource], weights: list[float]):
        self.sources = sources
        self.weights = weights

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    @property
    def name(self) -> str:
        """Its name in reports."""
        return " + ".join(source.name for source in self.sources)

    def shuffle(self, maker: ExampleMaker, *, seed: int) -> grain.MapDataset[Any]:
        """Return the endless global order of examples; each depends only on its record and its place in the order.

        Every source has its own epochs: all its records once, in a new order.
        """
        seeds = [seed] if len(self.sources) == 1 else np.random.SeedSequence(seed).generate_state(len(self.sources))
        orders = [
            self._located(source).seed(int(own)).shuffle().repeat()
            for source, own in zip(self.sources, seeds, strict=True)
        ]
        order = orders[0] if len(orders) == 1 else grain.MapDataset.mix(orders, weights=self.weights).seed(seed)
        return order.random_map(Decode(maker))

    def in_order(self, maker: ExampleMaker) -> grain.MapDataset[Any]:
        """Return the records in order, one source after the other, with the same randomness every time."""
        order = grain.MapDataset.concatenate([self._located(source) for source in self.sources])
        return order.seed(0).random_map(Decode(maker))

    @staticmethod
    def _located(source: RecordSource) -> grain.MapDataset[Any]:
        located: Any = Locating(source)
        return grain.MapDataset.source(located)


def open_mixture(config: DataConfig, schema: Schema) -> Mixture:
    """Return the records that `config` names, which must have this schema.

    Raises:
      UserError: as `open_source`.
    """
    raise_open_file_limit()
    sources = [open_source(config.source, config.split, schema)]
    sources += [open_source(other.source, other.split, schema) for other in config.mixed_in]
    return Mixture(sources, [1.0, *(other.weight for other in config.mixed_in)])
