"""The output folder of a preparation: started, resumed after any interruption, and published when complete.

During the work, everything lies in a work folder inside it: a shard for every finished unit, named by the unit's key,
and its result beside it. At the end the shards get TFDS's names, and the metadata is written, `dataset_info.json` last:
a folder that has it is complete, and readers refuse one that has not.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.dataset_info import DatasetIdentity
from tensorflow_datasets.core.splits import SplitDict

from data_pipelines.dataset_kinds import INFO, Counts, DatasetKind
from data_pipelines.duplicates import find_duplicates, rewrite, with_free_ids, without_records
from data_pipelines.layouts import Layout
from data_pipelines.prepare_report import DROPS, REPORT, PrepareReport, drop_lines, summarise
from data_pipelines.shards import ShardResult, cannot_write, result_name, shard_name
from data_pipelines.storage import TEMPORARY, WORK, Folder
from data_pipelines.units import Unit
from samjax.core.errors import UserError
from samjax.core.folder import Lock, try_lock

_NAMES = f"{WORK}/names.json"


class OutFolder:
    """The folder `out`; use it through `open_out`."""

    def __init__(self, path: str, layout: Layout):
        self.path = path
        self.folder = Folder(path)
        self._kind = layout.kind
        self._settings = layout.settings
        self._files = layout.files

    def complete_report(self, units: Sequence[Unit], *, split: str) -> PrepareReport | None:
        """Return the report of a preparation that is complete, None if there is work to do.

        Raises:
          UserError: it was made from other files, or holds something else.
        """
        names = self.folder.names()
        if INFO in names and REPORT in names:
            try:
                report = PrepareReport.from_json(self.folder.read(REPORT))
            except ValueError as error:
                raise UserError(f"{self.path}/{REPORT} is damaged ({error}): remove the folder") from error
            before = {shard.key: shard.source for shard in report.shards}
            differences = compare(before, units)
            if report.dataset != self._kind.name:
                differences.append(f"the data set was {report.dataset}, not {self._kind.name}")
            elif report.settings != self._settings:
                differences.append(f"it was written {in_words(report.settings)}, not {in_words(self._settings)}")
            if report.split != split:
                differences.append(f"the split was {report.split}, not {split}")
            if differences:
                raise UserError(
                    f"{self.path} exists already and was prepared from something else ({'; '.join(differences)}): give "
                    "a new folder, or remove it"
                )
            if WORK in names:
                self.folder.remove_folder(WORK)  # killed after the last file, before this
            return report
        if WORK not in names and any(not name.startswith(".") for name in names):
            raise UserError(f"{self.path} exists already: give a new folder to write to, or remove it")
        return None

    def results(self) -> dict[str, ShardResult]:
        """Return the results of finished units, by key. Unfinished files are removed."""
        self._take_back_names()
        names = set(self.folder.names(WORK))
        found = {}
        for name in sorted(names):
            if name.endswith(TEMPORARY):
                self.folder.remove(f"{WORK}/{name}")
            elif name.endswith(".json"):
                result = ShardResult.from_json(self.folder.read(f"{WORK}/{name}"))
                if not result.error and self.folder.size(f"{WORK}/{shard_name(result.key)}") == result.size:
                    found[result.key] = result
                else:
                    self.folder.remove(f"{WORK}/{name}")
        for name in names - {shard_name(key) for key in found}:
            if name.endswith(".array_record"):
                self.folder.remove(f"{WORK}/{name}")
        return found

    def errors(self) -> dict[str, str]:
        """Return why units could not be read, by key."""
        results = (
            ShardResult.from_json(self.folder.read(f"{WORK}/{name}"))
            for name in self.folder.names(WORK)
            if name.endswith(".json")
        )
        return {result.key: result.error for result in results if result.error}

    def forget(self, key: str) -> None:
        """Remove what was done of the unit with `key`."""
        self.folder.remove(f"{WORK}/{result_name(key)}")
        self.folder.remove(f"{WORK}/{shard_name(key)}")

    def publish(self, results: Sequence[ShardResult], *, split: str) -> PrepareReport:
        """Give the shards of `results`, all of them, their names, and write the metadata.

        If this is interrupted, the next `results` undoes it.
        """
        repeated = find_duplicates(results)
        counted = (
            with_free_ids(results, repeated)
            if self._kind.renumber
            else [
                without_records(result, positions.tolist()) if len(positions) else result
                for result, positions in zip(results, repeated, strict=True)
            ]
        )
        files = _file_names(self._kind.name, counted, split=split)
        kept = {file: result.key for file, result in zip(files, results, strict=True) if file}
        self.folder.write(_NAMES, json.dumps(kept).encode())
        published = []
        for file, result, positions in zip(files, counted, repeated, strict=True):
            if not file:
                published.append(dataclasses.replace(result, masks=0, area=0, without_masks=0))
            elif len(positions):
                published.append(self._write_again(result, file, positions.tolist()))
            else:
                self.folder.rename(f"{WORK}/{shard_name(result.key)}", file)
                published.append(result)
        report = summarise(published, files=files, split=split, dataset=self._kind.name, settings=self._settings)
        self._write_metadata(report, drop_lines(published))
        self.folder.remove_folder(WORK)
        return report

    def _write_again(self, result: ShardResult, file: str, positions: list[int]) -> ShardResult:
        gone: list[Counts] = []

        def change(position: int, content: bytes) -> bytes | None:
            if position not in positions:
                return content
            if self._kind.renumber:
                return self._kind.renumber(content, result.ids[position])
            gone.append(self._kind.counts(self._kind.schema.decode(content)))
            return None

        with (
            self.folder.local_copy(f"{WORK}/{shard_name(result.key)}") as shard,
            self.folder.temporary(file) as target,
        ):
            rewrite(shard, target, change)
            with target.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            size = target.stat().st_size
        return dataclasses.replace(
            result,
            masks=result.masks - sum(counts.masks for counts in gone),
            area=result.area - sum(counts.area for counts in gone),
            without_masks=result.without_masks - sum(counts.without_masks for counts in gone),
            size=size,
            sha256=digest,
        )

    def _take_back_names(self) -> None:
        """Undo an interrupted publication."""
        if self.folder.size(_NAMES) is None:
            return
        for file, key in json.loads(self.folder.read(_NAMES)).items():
            if self.folder.size(file) is None:
                continue
            if self.folder.size(f"{WORK}/{shard_name(key)}") is None:
                self.folder.rename(file, f"{WORK}/{shard_name(key)}")
            else:  # it was written again without duplicates, or is being moved by a store that copies first
                self.folder.remove(file)
        self.folder.remove(_NAMES)

    def _write_metadata(self, report: PrepareReport, drops: str) -> None:
        info = dataset_info(report, self._kind)
        with tempfile.TemporaryDirectory(prefix="samjax-") as made:
            self._kind.schema.features().save_config(made)
            for path in sorted(Path(made).iterdir()):
                self.folder.write(path.name, path.read_bytes())
        for name, content in self._files.items():
            self.folder.write(name, content.encode())
        if drops:
            self.folder.write(DROPS, drops.encode())
        self.folder.write(REPORT, report.to_json().encode())
        self.folder.write(INFO, info.as_json.encode())


def dataset_info(report: PrepareReport, kind: DatasetKind) -> tfds.core.DatasetInfo:
    """Return what TFDS needs to know to open the shards of `report`, in whatever folder they lie."""
    splits = []
    for name in report.split.split("+"):
        template = tfds.core.ShardedFileTemplate(
            data_dir=epath.Path(), dataset_name=kind.name, split=name, filetype_suffix="array_record"
        )
        shards = [shard for shard in report.shards if shard.file and (shard.split or name) == name]
        split = tfds.core.SplitInfo(
            name=name,
            shard_lengths=[shard.records for shard in shards],
            num_bytes=sum(shard.size for shard in shards),
            filename_template=template,
        )
        splits.append(split)
    info = tfds.core.DatasetInfo(
        builder=DatasetIdentity(
            name=kind.name, version=tfds.core.Version("1.0.0"), data_dir="", module_name=kind.module
        ),
        features=kind.schema.features(),
        description=kind.description,
        homepage=kind.homepage,
        split_dict=SplitDict(splits),
    )
    info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
    return info


def compare(before: dict[str, str], units: Sequence[Unit]) -> list[str]:
    """Return in words how `units` differ from those that were there `before`, path by key."""
    now = {unit.key: unit.path for unit in units}
    paths = set(now.values())
    changed = sorted({path for key, path in before.items() if key not in now and path in paths})
    gone = sorted({path for path in before.values() if path not in paths})
    new = sorted({path for path in paths if path not in set(before.values())})
    return [f"{_few(paths)} {word}" for paths, word in ((changed, "changed"), (gone, "gone"), (new, "new")) if paths]


def _few(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3:,} more" if len(paths) > 3 else "")


def in_words(settings: str) -> str:
    """Return how records are written, as a phrase for errors."""
    return f"as {settings}" if settings else "in the SA-1B layout"


def _file_names(name: str, results: Sequence[ShardResult], *, split: str) -> list[str]:
    """Return the names of the shards of `results`, counted in each split; empty where there is no record."""
    of = [result.split or split for result in results]
    totals = collections.Counter(place for place, result in zip(of, results, strict=True) if result.records)
    numbers = {place: iter(range(total)) for place, total in totals.items()}
    return [
        f"{name}-{place}.array_record-{next(numbers[place]):05d}-of-{totals[place]:05d}" if result.records else ""
        for place, result in zip(of, results, strict=True)
    ]


@contextlib.contextmanager
def open_out(path: str, *, layout: Layout) -> Iterator[OutFolder]:
    """Yield the folder `path`, locked if it is local; remove it again if no unit was finished.

    Raises:
      UserError: it cannot be made, or another process is preparing it.
    """
    folder = Folder(path)
    with contextlib.ExitStack() as stack:
        try:
            names = folder.names()
            if WORK in names or all(name.startswith(".") for name in names):
                folder.make(WORK)
                stack.callback(_tidy, folder)
                stack.enter_context(_lock(folder))
        except OSError as error:
            raise cannot_write(path, error) from error
        yield OutFolder(path, layout)


@contextlib.contextmanager
def _lock(folder: Folder) -> Iterator[None]:
    """Lock the folder; the system releases the lock however the process ends. Object stores have no locks."""
    if not folder.local:
        yield
        return
    with open(folder.at(f"{WORK}/lock"), "w") as file:
        if try_lock(file, folder=folder.path) is Lock.ANOTHERS:
            raise UserError(f"{folder.path} is being prepared by another process: wait for it, or stop it")
        yield


def _tidy(folder: Folder) -> None:
    if folder.names(WORK) and not any(name.endswith(".array_record") for name in folder.names(WORK)):
        folder.remove_folder(WORK)
    if not folder.names():
        folder.remove_folder()
