"""What a preparation must know of its source: how it is listed, and which records it becomes."""

import dataclasses
from collections.abc import Callable, Sequence

from data_pipelines.dataset_kinds import DatasetKind
from data_pipelines.units import Unit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A layout of sources, with what the user chose of how they are written."""

    kind: DatasetKind
    find_units: Callable[[str | Sequence[str]], Sequence[Unit]]
    """Lists a source; raises UserError where it holds nothing."""
    expectation: str
    """For messages: what to give as the source."""
    settings: str = ""
    """What the user chose, in words; a folder holds records of one choice alone."""
