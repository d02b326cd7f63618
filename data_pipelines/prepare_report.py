"""What a preparation read, wrote and dropped: as `prepare_report.json`, and as text."""

import collections
import dataclasses
import json
from collections.abc import Sequence

from data_pipelines.dataset_kinds import MASKS, kind_by_name
from data_pipelines.shards import ShardResult

REPORT = "prepare_report.json"
DROPS = "prepare_dropped.jsonl"
_EXAMPLES = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One unit of the source, and the shard that it became."""

    source: str
    """The tar or folder."""
    key: str
    """Identifies the unit, including its files' sizes and times."""
    file: str
    """The shard's name; empty if the unit held no record."""
    records: int
    masks: int
    area: int
    """Of all masks, pixels."""
    split: str = ""
    """Where the preparation has several."""
    size: int
    """Bytes."""
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """What a preparation read, wrote and dropped."""

    split: str
    dataset: str = MASKS.name
    """The name of the records' schema, one of `data_pipelines.dataset_kinds`."""
    settings: str = ""
    """What the user chose of how photos are written, in words."""
    records: int
    """Written."""
    masks: int
    """Written."""
    area: int
    """Of all masks written, pixels."""
    without_masks: int
    """Photos written that have no mask."""
    dropped: int
    """Records not written."""
    reasons: dict[str, int]
    """Dropped records by kind of fault."""
    examples: tuple[str, ...]
    """The first dropped records in full."""
    empty_masks: int
    """Masks excluded from their records because they have no pixel."""
    changes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Photos that were re-encoded, by reason; one may have several."""
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    """What else of the source is in no record, by kind."""
    ignored_members: int
    """Members of the tars, or files of the folders, that are no part of a record."""
    shards: tuple[ShardEntry, ...]
    """One per tar, and per 4,096 photos of a folder, in the source's order."""

    def to_json(self) -> str:
        """Return this as JSON, for `from_json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "PrepareReport":
        """Return the report written in `text`.

        Raises:
          ValueError: it is no report.
        """
        try:
            fields = json.loads(text)
            shards = tuple(ShardEntry(**shard) for shard in fields.pop("shards"))
            return cls(**{**fields, "examples": tuple(fields.pop("examples")), "shards": shards})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a report of a preparation: {error}") from error

    def text(self) -> str:
        """Return the report as text."""
        files = sum(bool(shard.file) for shard in self.shards)
        lines = [f"{self._contents(self.shards)} in {files:,} shards"]
        lines += [f"  {split}: {self._contents(shards)}" for split, shards in self._by_split().items() if split]
        if self.changes:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.changes.items())
            lines.append(f"photos encoded again as {kind_by_name(self.dataset).photos_as}, by the reason: {reasons}")
        if self.without_masks:
            lines.append(f"{self.without_masks:,} of the photos have no mask")
        if self.empty_masks:
            lines.append(f"{self.empty_masks:,} masks without a pixel were left out")
        lines += [f"{count:,} {kind} were left out" for kind, count in self.left_out.items()]
        if self.ignored_members:
            lines.append(f"{self.ignored_members:,} files that are no part of a record were ignored")
        if barren := [shard.source for shard in self.shards if not shard.file]:
            more = f" and {len(barren) - 3:,} more" if len(barren) > 3 else ""
            lines.append(
                f"{len(barren):,} of {len(self.shards):,} sources gave no photo: {', '.join(barren[:3])}{more}"
            )
        share = self.dropped / max(1, self.dropped + self.records)
        lines.append(f"{self.dropped:,} records were dropped" + (f" ({share:.2%}):" if self.dropped else ""))
        lines += [f"  {count:>7,}  {kind}" for kind, count in sorted(self.reasons.items())]
        lines += [f"  {example}" for example in self.examples]
        if self.dropped > len(self.examples):
            lines.append(f"  the others are in {DROPS}")
        return "\n".join(lines)

    def _contents(self, shards: Sequence[ShardEntry]) -> str:
        masks = f" with {sum(shard.masks for shard in shards):,} masks" if kind_by_name(self.dataset).has_masks else ""
        return f"{sum(shard.records for shard in shards):,} photos{masks}"

    def _by_split(self) -> dict[str, list[ShardEntry]]:
        found: dict[str, list[ShardEntry]] = {}
        for shard in self.shards:
            found.setdefault(shard.split, []).append(shard)
        return found


def summarise(
    results: Sequence[ShardResult], *, files: Sequence[str], split: str, dataset: str, settings: str
) -> PrepareReport:
    """Return the report of units that became `files`, one each and empty where there is none."""
    reasons: collections.Counter[str] = collections.Counter()
    changed: collections.Counter[str] = collections.Counter()
    left_out: collections.Counter[str] = collections.Counter()
    for result in results:
        reasons.update(result.dropped)
        changed.update(result.changes)
        left_out.update(result.left_out)
    examples = [f"{drop.where}: {drop.detail}" for result in results for drop in result.drops[:_EXAMPLES]]
    return PrepareReport(
        split=split,
        dataset=dataset,
        settings=settings,
        records=sum(result.records for result in results),
        masks=sum(result.masks for result in results),
        area=sum(result.area for result in results),
        without_masks=sum(result.without_masks for result in results),
        dropped=reasons.total(),
        reasons=dict(sorted(reasons.items())),
        examples=tuple(examples[:_EXAMPLES]),
        empty_masks=sum(result.empty_masks for result in results),
        changes=dict(sorted(changed.items())),
        left_out=dict(sorted(left_out.items())),
        ignored_members=sum(result.ignored_members for result in results),
        shards=tuple(
            ShardEntry(
                source=result.path,
                key=result.key,
                file=file,
                records=result.records,
                masks=result.masks,
                area=result.area,
                split=result.split,
                size=result.size if file else 0,
                sha256=result.sha256 if file else "",
            )
            for result, file in zip(results, files, strict=True)
        ),
    )


def drop_lines(results: Sequence[ShardResult]) -> str:
    """Return the dropped records as JSON lines."""
    return "".join(json.dumps(dataclasses.asdict(drop)) + "\n" for result in results for drop in result.drops)
