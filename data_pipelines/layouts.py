"""What a preparation needs to know about its source: how to list it, and which records to make."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from data_pipelines.dataset_kinds import DatasetKind
from data_pipelines.units import Unit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A layout of sources, with the user's settings for writing them."""

    kind: DatasetKind
    find_units: Callable[[str | Sequence[str]], Sequence[Unit]]
    """Lists a source; raises UserError where it holds nothing."""
    expectation: str
    """For messages: what to give as the source."""
    settings: str = ""
    """The user's settings, in words; a folder holds records of one setting only."""
    splits: tuple[str, ...] = ()
    """Names of the splits, where each unit says which is its own; empty where the preparation has one only."""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Text files that the folder also holds, by name."""
    option: str = "--source"
    """For messages: the option that names the source."""
