"""Recounts a prepared folder against its metadata and its report, and decodes a sample of records."""

import concurrent.futures
import dataclasses
import hashlib
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from data_pipelines.dataset_kinds import INFO, DatasetKind, kind_by_name, open_dataset
from data_pipelines.prepare_report import REPORT, PrepareReport, ShardEntry
from data_pipelines.storage import Folder
from samjax.core.errors import UserError
from samjax.core.machine_faults import raise_machine_fault
from samjax.data.masks import rle
from samjax.data.photo import PhotoError
from samjax.data.records.schema import RecordError
from samjax.data.stream.readers import ShardError, count_records
from samjax.data.stream.sources import ArrayRecordSource, RecordSource

_TOLD = 20
"""How many faulty records of a shard to name; more are only counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardCheck:
    """What a shard holds, and what is wrong with it, in sentences."""

    records: int = 0
    masks: int = 0
    area: int = 0
    """Of all masks, pixels."""
    sample: int = 0
    """Records of which all was decoded, photo and masks."""
    ids: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What a folder holds, and what is wrong with it, in sentences."""

    folder: str
    dataset: str
    """The name of the records' kind, one of `data_pipelines.dataset_kinds`."""
    shards: int
    records: int
    masks: int
    area: int
    """Of all masks, pixels."""
    sample: int
    """Records of which all was decoded, photo and masks."""
    against_report: bool
    """Whether there was a report to compare with; data prepared by TFDS has only metadata."""
    problems: tuple[str, ...]

    def text(self) -> str:
        """Return the report as text."""
        compared = f"{INFO} and {REPORT}" if self.against_report else f"{INFO}; there is no {REPORT}"
        has_masks = kind_by_name(self.dataset).has_masks
        masks = f", {self.masks:,} masks covering {self.area:,} pixels, in" if has_masks else " in"
        decoded = " with all their masks" if has_masks else ""
        lines = [
            f"{self.folder}: {self.records:,} photos{masks} {self.shards:,} shards",
            f"{self.sample:,} photos decoded{decoded}; compared with {compared}",
        ]
        return "\n".join([*lines, *problem_lines(self.problems)])


def problem_lines(problems: Sequence[str]) -> list[str]:
    """Return the last lines of a report: what is wrong, and how much of it."""
    total = f"{len(problems):,} problems" if problems else "all is well"
    return [*(f"  {problem}" for problem in problems), total]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Task:
    """A shard to check; `entry` is what the report says of it."""

    folder: str
    name: str
    record_count: int
    kind: DatasetKind
    entry: ShardEntry | None
    sample: int
    """How many records to decode, spread over the shard."""


def verify(
    folder: str,
    *,
    sample: int = 100,
    workers: int = 1,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> VerifyReport:
    """Read all of a prepared folder, of every split, and report.

    Args:
      folder: as `samjax.data.stream.sources.open_source` takes it.
      sample: how many records are decoded, photo and masks, spread evenly over the shards; at least one of each.
      workers: how many processes; 1 is this process.
      watch: called with how many of how many shards are done.

    Raises:
      UserError: it is not a prepared folder.
    """
    info, path, kind = open_dataset(folder)
    root = str(path)
    report, problems = _read_report(Folder(root))
    entries = {entry.file: entry for entry in report.shards if entry.file} if report else {}
    named = [
        (str(file).rsplit("/", 1)[-1], count)
        for split in info.splits.values()
        for file, count in zip(split.filepaths, split.shard_lengths, strict=True)
    ]
    tasks = [
        _Task(
            folder=root,
            name=name,
            record_count=count,
            kind=kind,
            entry=entries.get(name),
            sample=max(1, -(-sample // len(named))) if sample else 0,
        )
        for name, count in named
    ]
    checks = _check_all(tasks, workers=workers, watch=watch)
    problems += [problem for check in checks for problem in check.problems]
    problems += _across(checks, report=report, named=[name for name, _ in named], names=Folder(root).names())
    return VerifyReport(
        folder=root,
        dataset=kind.name,
        shards=len(tasks),
        records=sum(check.records for check in checks),
        masks=sum(check.masks for check in checks),
        area=sum(check.area for check in checks),
        sample=sum(check.sample for check in checks),
        against_report=report is not None,
        problems=tuple(problems),
    )


def _read_report(folder: Folder) -> tuple[PrepareReport | None, list[str]]:
    if folder.size(REPORT) is None:
        return None, []
    try:
        return PrepareReport.from_json(folder.read(REPORT)), []
    except ValueError as error:
        return None, [f"{REPORT} is damaged: {error}"]


def _check_all(tasks: Sequence[_Task], *, workers: int, watch: Callable[[int, int], None]) -> list[ShardCheck]:
    checks: list[ShardCheck] = []
    if workers == 1 or len(tasks) == 1:
        for task in tasks:
            checks.append(_check_shard(task))
            watch(len(checks), len(tasks))
        return checks
    context = multiprocessing.get_context("spawn")
    try:
        with concurrent.futures.ProcessPoolExecutor(min(workers, len(tasks)), context) as pool:
            for check in pool.map(_check_shard, tasks):
                checks.append(check)
                watch(len(checks), len(tasks))
    except BrokenProcessPool as error:
        raise UserError("a worker was killed, perhaps because memory ran out: give fewer --workers") from error
    return checks


def _check_shard(task: _Task) -> ShardCheck:
    folder = Folder(task.folder)
    size = folder.size(task.name)
    if size is None:
        return ShardCheck(problems=(f"{task.name} is missing",))
    problems = []
    try:
        with folder.local_copy(task.name) as path:
            if task.entry is not None:
                if size != task.entry.size:
                    problems.append(f"{task.name} has {size:,} bytes but the report says {task.entry.size:,}")
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != task.entry.sha256:
                        problems.append(f"{task.name} is damaged: its SHA-256 is not the report's")
            (count,) = count_records([str(path)])
            if isinstance(count, ShardError):
                return ShardCheck(problems=(*problems, f"{task.name} cannot be opened: {count}"))
            if count != task.record_count:
                problems.append(f"{task.name} holds {count:,} records but {INFO} says {task.record_count:,}")
            source = ArrayRecordSource(name=task.name, shards=[str(path)], counts=[count])
            return _check_records(task, source, problems)
    except OSError as error:
        raise_machine_fault(error, what=f"{folder.at(task.name)} cannot be read")
        return ShardCheck(problems=(*problems, f"{task.name} cannot be read: {error.strerror or error}"))


def _check_records(task: _Task, source: RecordSource, problems: list[str]) -> ShardCheck:
    masks = area = sampled = 0
    ids: list[int] = []
    faults: list[str] = []
    chosen = set(np.linspace(0, max(0, len(source) - 1), min(task.sample, len(source))).astype(int).tolist())
    for index in range(len(source)):
        try:
            record = task.kind.schema.decode(source[index])
            if index in chosen:
                sampled += 1
                task.kind.check(record)
        except (RecordError, rle.RleError, PhotoError) as error:
            raise_machine_fault(error, what=f"{task.name}, record {index} cannot be read")
            faults.append(f"{task.name}, record {index}: {error}")
            continue
        ids.append(record.image_id)
        counts = task.kind.counts(record)
        masks += counts.masks
        area += counts.area
    problems += faults[:_TOLD]
    if len(faults) > _TOLD:
        problems.append(f"{task.name}: {len(faults) - _TOLD:,} more records are faulty")
    if task.entry is not None:
        found = {"records": len(ids), "masks": masks, "area": area}
        for what, number in found.items():
            if number != (said := getattr(task.entry, what)):
                problems.append(f"{task.name}: {what} {number:,} but the report says {said:,}")
    return ShardCheck(
        records=len(ids), masks=masks, area=area, sample=sampled, ids=tuple(ids), problems=tuple(problems)
    )


def _across(
    checks: Sequence[ShardCheck], *, report: PrepareReport | None, named: Sequence[str], names: Sequence[str]
) -> list[str]:
    """Return what is wrong with the folder as a whole."""
    problems = []
    ids = np.concatenate([np.zeros(0, np.int64), *(np.array(check.ids, np.int64) for check in checks)])
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        first = ", ".join(str(value) for value in values[counts > 1][:5])
        problems.append(f"{int((counts > 1).sum()):,} image ids come more than once: {first}")
    others = [name for name in names if ".array_record-" in name and name not in named and not name.startswith(".")]
    problems += [f"{name} is not named by {INFO}" for name in others]
    if report is not None:
        problems += [
            f"{entry.file} is in the report but not in {INFO}"
            for entry in report.shards
            if entry.file and entry.file not in named
        ]
        problems += [
            f"{entry.source} gave no photo, and none was dropped: it was not whole; fetch it again, and prepare again"
            for entry in report.shards
            if not entry.file and not report.dropped
        ]
        for what in ("records", "masks", "area"):
            parts = sum(getattr(entry, what) for entry in report.shards)
            if parts != (said := getattr(report, what)):
                problems.append(f"{REPORT} says {said:,} {what} in all but its shards add up to {parts:,}")
    return problems
