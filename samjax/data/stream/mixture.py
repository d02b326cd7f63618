"""The global order of records: one data set or several mixed by weight, as a function of the seed alone."""

from typing import Any, NamedTuple, SupportsIndex

import grain
import numpy as np

from samjax.core.errors import MachineError
from samjax.core.machine_faults import raise_open_file_limit
from samjax.data.config import DataConfig
from samjax.data.records import masks as records
from samjax.data.stream.sources import RecordSource, open_source


class Located(NamedTuple):
    """A record's bytes, or why they cannot be read, and the name to report it by."""

    name: str
    data: bytes | records.RecordError | MachineError


class Locating:
    """A source for grain whose records carry their names, and whose unreadable ones are the error."""

    def __init__(self, source: RecordSource):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: SupportsIndex) -> Located:
        name = f"{self._source.name}, record {int(index)}"
        try:
            return Located(name, self._source[index])
        except (records.RecordError, MachineError) as error:
            return Located(name, error)

    def __repr__(self) -> str:
        return repr(self._source)


class Mixture:
    """One or more sources, and how many photos of each are dealt out for one of the first."""

    def __init__(self, sources: list[RecordSource], weights: list[float]):
        self.sources = sources
        self.weights = weights

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    @property
    def name(self) -> str:
        """What to call it in a report."""
        return " + ".join(source.name for source in self.sources)

    def shuffled(self, make: Any, *, seed: int) -> grain.MapDataset[Any]:
        """Return the endless global order, each record passed through `make` with randomness of its place alone.

        Every source has an epoch of its own: all its records once, in a new order.
        """
        seeds = [seed] if len(self.sources) == 1 else np.random.SeedSequence(seed).generate_state(len(self.sources))
        orders = [
            self._located(source).seed(int(own)).shuffle().repeat()
            for source, own in zip(self.sources, seeds, strict=True)
        ]
        order = orders[0] if len(orders) == 1 else grain.MapDataset.mix(orders, weights=self.weights).seed(seed)
        return order.random_map(make)

    def in_order(self, make: Any) -> grain.MapDataset[Any]:
        """Return the records in their order, one source after the other, always with the same randomness."""
        return grain.MapDataset.concatenate([self._located(source) for source in self.sources]).seed(0).random_map(make)

    @staticmethod
    def _located(source: RecordSource) -> grain.MapDataset[Any]:
        located: Any = Locating(source)
        return grain.MapDataset.source(located)


def open_mixture(config: DataConfig) -> Mixture:
    """Return the records that `config` names.

    Raises:
      UserError: as `open_source`.
    """
    raise_open_file_limit()
    sources = [open_source(config.source, config.split)]
    sources += [open_source(other.source, other.split) for other in config.mixed_in]
    return Mixture(sources, [1.0, *(other.weight for other in config.mixed_in)])
