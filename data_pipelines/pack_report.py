"""What a packing read and wrote: as `pack_report.json`, and as text."""

import collections
import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from data_pipelines.pairs import Drop

REPORT = "pack_report.json"
PHOTOS_PER_TAR = 11_000
"""About as many as the tars of SA-1B's release have."""
DROPS = "pack_dropped.jsonl"
_EXAMPLES = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class TarEntry:
    """One tar."""

    file: str
    """Its name; empty if none of its pairs could be used, and there is no tar."""
    key: str
    """Changes when a file that is packed in it does."""
    photos: int
    masks: int
    without_masks: int
    """Photos that have no mask."""
    dropped: int
    """Pairs that could not be used."""
    size: int
    """Bytes."""
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackReport:
    """What a packing read and wrote."""

    source: str
    photos_per_tar: int
    parts: int
    """Of `samjax generate --part`; 0 if the source is no folder of parts."""
    photos: int
    """Packed."""
    masks: int
    without_masks: int
    """Photos packed that have no mask."""
    dropped: int
    """Photos and JSONs not packed."""
    reasons: dict[str, int]
    """These, by kind of fault."""
    examples: tuple[str, ...]
    """The first of them."""
    unreadable: int
    """Photos that `samjax generate` could not read, by its reports."""
    ignored_files: int
    """No part of a pair."""
    size: int
    """Of all tars, bytes."""
    tars: tuple[TarEntry, ...]

    def to_json(self) -> str:
        """Return this as JSON, for `from_json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "PackReport":
        """Return the report written in `text`.

        Raises:
          ValueError: it is no report.
        """
        try:
            fields = json.loads(text)
            tars = tuple(TarEntry(**tar) for tar in fields.pop("tars"))
            return cls(**{**fields, "examples": tuple(fields.pop("examples")), "tars": tars})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a report of a packing: {error}") from error

    def text(self) -> str:
        """Return the report as text."""
        files = sum(bool(tar.file) for tar in self.tars)
        parts = f" from {self.parts:,} parts" if self.parts else ""
        lines = [f"{self.photos:,} photos with {self.masks:,} masks{parts} in {files:,} tars, {self.size:,} bytes"]
        if self.without_masks:
            lines.append(f"{self.without_masks:,} of the photos have no mask")
        if self.unreadable:
            lines.append(f"{self.unreadable:,} more photos could not be read when masks were generated")
        if self.ignored_files:
            lines.append(f"{self.ignored_files:,} files that are no part of a pair were ignored")
        lines.append(f"{self.dropped:,} were dropped" + (":" if self.dropped else ""))
        lines += [f"  {count:>7,}  {kind}" for kind, count in sorted(self.reasons.items())]
        lines += [f"  {example}" for example in self.examples]
        if self.dropped > len(self.examples):
            lines.append(f"  the others are in {DROPS}")
        return "\n".join(lines)

    def problems(self) -> list[str]:
        """Return in sentences where its figures do not add up."""
        wrong = []
        for what in ("photos", "masks", "without_masks", "size"):
            total = sum(getattr(tar, what) for tar in self.tars)
            if total != (written := getattr(self, what)):
                wrong.append(f"{REPORT} says {written:,} {what} in all but its tars add up to {total:,}")
        if (total := sum(self.reasons.values())) != self.dropped:
            wrong.append(f"{REPORT} says {self.dropped:,} dropped in all but its reasons add up to {total:,}")
        return wrong


def summarise(tars: Sequence[TarEntry], *, drops: Iterable[Drop], **fields: Any) -> PackReport:
    """Return the report of `tars`; `drops` are all that was dropped, and `fields` the others of the report."""
    dropped = list(drops)
    reasons = collections.Counter(drop.kind for drop in dropped)
    return PackReport(
        photos=sum(tar.photos for tar in tars),
        masks=sum(tar.masks for tar in tars),
        without_masks=sum(tar.without_masks for tar in tars),
        dropped=len(dropped),
        reasons=dict(sorted(reasons.items())),
        examples=tuple(f"{drop.where}: {drop.detail}" for drop in dropped[:_EXAMPLES]),
        size=sum(tar.size for tar in tars),
        tars=tuple(tars),
        **fields,
    )
