"""Recounts tars in SA-1B's layout against the report of their packing, and decodes a sample of photos and masks."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from data_pipelines.dataset_kinds import MASKS
from data_pipelines.descriptions import KINDS, parse_pair
from data_pipelines.pack_report import REPORT, PackReport, TarEntry
from data_pipelines.pairs import Drop, Pair, SourceError
from data_pipelines.storage import Folder, filesystem, open_bytes
from data_pipelines.tar_reader import read_tar
from data_pipelines.verify import problem_lines
from samjax.core.errors import UserError
from samjax.core.machine_faults import raise_machine_fault
from samjax.data.records.schema import RecordError

_TOLD = 20
"""How many faulty pairs of a tar to name; more are only counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TarsReport:
    """What a folder of tars holds, and what is wrong with it, in sentences."""

    folder: str
    tars: int
    photos: int
    masks: int
    sample: int
    """Photos that were decoded with all their masks."""
    problems: tuple[str, ...]

    def text(self) -> str:
        """Return the report as text."""
        lines = [
            f"{self.folder}: {self.photos:,} photos, {self.masks:,} masks, in {self.tars:,} tars",
            f"{self.sample:,} photos decoded with all their masks; compared with {REPORT}",
        ]
        return "\n".join([*lines, *problem_lines(self.problems)])


@dataclasses.dataclass
class _Count:
    """What a tar holds."""

    photos: int = 0
    masks: int = 0
    without_masks: int = 0
    sample: int = 0
    ids: list[int] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def is_pack(folder: str) -> bool:
    """Return whether `folder` is one that `samjax data pack` has completed."""
    return Folder(folder).size(REPORT) is not None


def verify_tars(
    path: str, *, sample: int = 100, watch: Callable[[int, int], None] = lambda done, total: None
) -> TarsReport:
    """Read all of a folder that `samjax data pack` wrote, and report.

    Args:
      path: the folder.
      sample: how many photos are decoded with their masks, spread over the tars; at least one of each.
      watch: called with how many of how many tars are done.

    Raises:
      UserError: the report is damaged.
      MachineError: the machine fails; the tars may be sound.
    """
    folder = Folder(path)
    try:
        report = PackReport.from_json(folder.read(REPORT))
    except ValueError as error:
        raise UserError(f"{path}/{REPORT} is damaged ({error}): restore it, or pack again") from error
    entries = [tar for tar in report.tars if tar.file]
    problems = report.problems()
    counts = []
    share = max(1, -(-sample // max(1, len(entries)))) if sample else 0
    for entry in entries:
        counts.append(_check_tar(folder, entry, sample=share))
        watch(len(counts), len(entries))
    problems += [problem for count in counts for problem in count.problems]
    named = {entry.file for entry in entries}
    others = sorted(name for name in folder.names() if name.endswith(".tar") and name not in named)
    problems += [f"{name} is not in {REPORT}" for name in others]
    values, times = np.unique([number for count in counts for number in count.ids], return_counts=True)
    if len(repeated := values[times > 1]):
        first = ", ".join(str(value) for value in repeated[:5])
        problems.append(f"{len(repeated):,} image ids come more than once: {first}")
    return TarsReport(
        folder=path,
        tars=len(entries),
        photos=sum(count.photos for count in counts),
        masks=sum(count.masks for count in counts),
        sample=sum(count.sample for count in counts),
        problems=tuple(problems),
    )


def _check_tar(folder: Folder, entry: TarEntry, *, sample: int) -> _Count:
    count = _Count()
    size = folder.size(entry.file)
    if size is None:
        count.problems.append(f"{entry.file} is missing")
        return count
    if size != entry.size:
        count.problems.append(f"{entry.file} has {size:,} bytes but the report says {entry.size:,}")
    files, path = filesystem(folder.at(entry.file)) if folder.local else filesystem(f"{folder.path}/{entry.file}")
    try:
        with open_bytes(files, path) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:  # type: ignore[arg-type]
                count.problems.append(f"{entry.file} is damaged: its SHA-256 is not the report's")
            file.seek(0)
            _read_pairs(file, entry, count, sample=sample)
    except (SourceError, OSError) as error:
        raise_machine_fault(error, what=f"{entry.file} cannot be read")
        count.problems.append(f"{entry.file} {error}")
        return count
    for what in ("photos", "masks", "without_masks"):
        if (found := getattr(count, what)) != (written := getattr(entry, what)):
            count.problems.append(f"{entry.file}: {what} {found:,} but the report says {written:,}")
    return count


def _read_pairs(file: BinaryIO, entry: TarEntry, count: _Count, *, sample: int) -> None:
    chosen = set(np.linspace(0, max(0, entry.photos - 1), min(sample, entry.photos)).astype(int).tolist())
    faults = []
    for item in read_tar(file, name=entry.file):
        if isinstance(item, Drop):
            faults.append(f"{item.where}: {item.detail}")
        if not isinstance(item, Pair):
            continue
        try:
            record = parse_pair(item)
            if count.photos in chosen:
                count.sample += 1
                MASKS.check(record)
        except (*KINDS, RecordError) as error:
            raise_machine_fault(error, what=f"{item.where} cannot be read")
            faults.append(f"{item.where}: {error}")
        else:
            count.photos += 1
            count.masks += len(record.annotations)
            count.without_masks += not record.annotations
            count.ids.append(record.image_id)
    count.problems += faults[:_TOLD]
    if len(faults) > _TOLD:
        count.problems.append(f"{entry.file}: {len(faults) - _TOLD:,} more pairs are faulty")
