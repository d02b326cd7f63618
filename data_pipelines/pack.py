"""Packs pairs of a folder in SA-1B's layout into tars, `sa_000000.tar` and so on, as the release has them.

Which pairs a tar gets depends on the list of pairs alone, and its bytes on their content alone. So a packing can stop
at any moment and resume later, with any number of processes.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from data_pipelines.local_run import end_with_parent, hold_interrupts
from data_pipelines.pack_report import DROPS, PHOTOS_PER_TAR, REPORT, PackReport, summarise
from data_pipelines.pack_source import PackSource, fingerprint, read_source
from data_pipelines.pack_tar import TarResult, TarTask, make_tar, result_file
from data_pipelines.pairs import NO_JSON
from data_pipelines.shards import StoppedError, cannot_write
from data_pipelines.storage import TEMPORARY, WORK, Folder
from samjax.core.errors import UserError
from samjax.core.folder import lock_folder
from samjax.core.ranges import COUNT, check_number
from samjax.data.stream.tolerance import TOLERATED, too_many


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackProgress:
    """Progress of a packing."""

    tars: int
    """Written, including by an earlier run."""
    tars_total: int


def pack(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    photos_per_tar: int = PHOTOS_PER_TAR,
    workers: int = 1,
    watch: Callable[[PackProgress], None] = lambda progress: None,
) -> PackReport:
    """Write the pairs of `source` as tars to the folder `out`, or resume; `pack_report.json` is written last.

    Args:
      source: a folder of `samjax generate`, with or without parts, of `samjax annotate`, or any in SA-1B's layout.
      out: the folder to make, local or as fsspec names it. If it is already complete from the same source, nothing is
        done.
      photos_per_tar: how many pairs go to a tar, in the order of their ids.
      workers: how many processes, each of which writes a tar; 1 is this process.
      watch: called when a tar is written.

    Raises:
      UserError: `source` cannot be packed, see `pack_source.read_source`; `out` lies in it, holds something else, is in
        use or cannot be written to; or more than 1% of the pairs cannot be used.
      MachineError: the machine fails; the same command resumes.
    """
    check_number("photos_per_tar", photos_per_tar, COUNT)
    folder = Folder(os.fspath(out))
    if folder.local and Path(folder.at("")).resolve().is_relative_to(Path(source).resolve()):
        raise UserError(f"--out {out} is in {source}: give another folder")
    data = read_source(source)
    pairs, name = data.pairs, os.fspath(out)
    tasks = [
        TarTask(out=name, file=f"sa_{number:06d}.tar", pairs=tuple(pairs[start : start + photos_per_tar]))
        for number, start in enumerate(range(0, len(pairs), photos_per_tar))
    ]
    try:
        if report := _complete_report(folder, tasks):
            return report
        _judge(data, {})
        with lock_folder(out, option="--out") if folder.local else contextlib.nullcontext():
            return _pack(folder, data, tasks, photos_per_tar=photos_per_tar, workers=workers, watch=watch)
    except OSError as error:
        raise cannot_write(name, error) from error


def _pack(
    folder: Folder,
    data: PackSource,
    tasks: Sequence[TarTask],
    *,
    photos_per_tar: int,
    workers: int,
    watch: Callable[[PackProgress], None],
) -> PackReport:
    folder.make(WORK)
    results = _kept(folder, tasks)
    todo = [task for task in tasks if task.file not in results]
    for file, result in _make_tars(todo, workers=max(1, min(workers, len(todo)))):
        results[file] = result
        watch(PackProgress(tars=len(results), tars_total=len(tasks)))
        _judge(data, results)
    ordered = [results[task.file] for task in tasks]
    drops = [*data.drops, *(drop for result in ordered for drop in result.drops)]
    report = summarise(
        [result.entry for result in ordered],
        drops=drops,
        source=data.path,
        photos_per_tar=photos_per_tar,
        parts=data.parts,
        unreadable=data.unreadable,
        ignored_files=data.ignored_files,
    )
    if not report.photos:
        raise UserError(f"{data.path} holds no pair that can be used, the first is {report.examples[0]}")
    if drops:
        folder.write(DROPS, "".join(json.dumps(dataclasses.asdict(drop)) + "\n" for drop in drops).encode())
    folder.write(REPORT, report.to_json().encode())
    folder.remove_folder(WORK)
    return report


def _complete_report(folder: Folder, tasks: Sequence[TarTask]) -> PackReport | None:
    """Return the report of a packing that is complete, None if there is work to do.

    Raises:
      UserError: it was packed from other pairs, or holds something else.
    """
    names = folder.names()
    if REPORT in names:
        try:
            report = PackReport.from_json(folder.read(REPORT))
        except ValueError as error:
            raise UserError(f"{folder.path}/{REPORT} is damaged ({error}): remove the folder") from error
        if [tar.key for tar in report.tars] != [fingerprint(task.pairs) for task in tasks]:
            raise UserError(
                f"{folder.path} exists already and was packed from other pairs, or with other --photos-per-tar: give a "
                "new folder, or remove it"
            )
        if WORK in names:
            folder.remove_folder(WORK)  # killed after the report, before this
        return report
    if WORK not in names and any(not name.startswith(".") for name in names):
        raise UserError(f"{folder.path} exists already: give a new folder to write to, or remove it")
    return None


def _kept(folder: Folder, tasks: Sequence[TarTask]) -> dict[str, TarResult]:
    """Return what an earlier run has written of `tasks`, and remove all else of it."""
    kept: dict[str, TarResult] = {}
    for name in folder.names(WORK):
        if name.endswith(TEMPORARY):
            folder.remove(f"{WORK}/{name}")
    for task in tasks:
        if folder.size(result_file(task.file)) is None:
            continue
        result = TarResult.from_json(folder.read(result_file(task.file)))
        size = folder.size(task.file) if result.entry.file else 0
        if result.entry.key == fingerprint(task.pairs) and size == result.entry.size:
            kept[task.file] = result
    for name in folder.names():
        if name.endswith(".tar") and name not in kept:
            folder.remove(name)
    for name in folder.names(WORK):
        if name.endswith(".json") and name.removesuffix(".json") not in kept:
            folder.remove(f"{WORK}/{name}")
    return kept


def _judge(data: PackSource, results: dict[str, TarResult]) -> None:
    """Stop if more than 1% of the pairs cannot be used, not counting photos without a JSON, as in a preparation.

    Raises:
      UserError: so it is.
    """
    drops = [drop for drop in data.drops if drop.kind != NO_JSON]
    drops += [drop for result in results.values() for drop in result.drops]
    total = len(data.pairs) + len([drop for drop in data.drops if drop.kind != NO_JSON])
    if too_many(bad=len(drops), seen=total, total=total):
        raise UserError(
            f"{data.path}: {len(drops):,} of {total:,} pairs cannot be used, more than {TOLERATED:.0%}, such as "
            f"{drops[-1].where}: {drops[-1].detail}"
        )


_stop: Any = None


def _make_tars(tasks: Sequence[TarTask], *, workers: int) -> Iterator[tuple[str, TarResult]]:
    """Yield the name and the result of every tar as it is written; leaving early abandons those in progress."""
    if workers == 1:
        for task in tasks:
            yield task.file, make_tar(task)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (stop,))
    try:
        with hold_interrupts():
            futures = {pool.submit(_make, task): task.file for task in tasks}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker was killed, perhaps because memory ran out: run the same command again with fewer --workers"
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(stop: Any) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the parent, which stops its workers
    threading.Thread(target=end_with_parent, daemon=True).start()


def _make(task: TarTask) -> TarResult:
    return make_tar(task, advance=_advance)


def _advance() -> None:
    if _stop.is_set():
        raise StoppedError
