"""The 23 data sets of the single-point evaluation (Segment Anything, section D.1 and Table 7).

Splits, counts and addresses are the table's. Where a data set's own distribution is not in a format that is read here,
`bring` says what to make of it: objects as COCO's JSON, or as label maps.
"""

from dataclasses import dataclass, field

from samjax.data.annotations.dataset import Dataset
from samjax.data.annotations.formats import Format, FormatOptions


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where the annotations and photos of a data set, or of one of its parts, are under its root."""

    format: Format
    annotations: str
    photos: str = ""
    """A folder; empty where the format's annotations hold the photos."""
    options: FormatOptions = field(default_factory=FormatOptions)


@dataclass(frozen=True, kw_only=True)
class NamedDataset:
    """One data set of the table."""

    key: str
    """What the command line calls it."""
    title: str
    split: str
    photos: int
    """As the paper sampled them."""
    masks: int
    url: str
    parts: tuple[Part, ...]
    root: str
    """What the root is, in the data set's own distribution."""
    bring: str = ""
    """What must be made of the distribution first; empty if nothing."""

    def difference(self, dataset: Dataset) -> str | None:
        """Return a sentence on how `dataset` differs from what the paper evaluated; None if counts are the same."""
        photos, masks = len(dataset.photos), dataset.masks
        if (photos, masks) == (self.photos, self.masks):
            return None
        return (
            f"{self.key}: {photos:,} photos and {masks:,} masks here, {self.photos:,} and {self.masks:,} in the paper"
        )
