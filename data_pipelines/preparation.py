"""Converts a source of any layout to ArrayRecord that TFDS opens, without TensorFlow.

Every unit of the source becomes a shard, made in a process or in a Beam pipeline. Its content depends only on the unit,
so a preparation can stop at any moment and resume later, with any number of processes.
"""

import collections
import dataclasses
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence

from data_pipelines import beam_run, local_run
from data_pipelines.duplicates import find_duplicates
from data_pipelines.layouts import Layout
from data_pipelines.out_folder import OutFolder, compare, in_words, open_out
from data_pipelines.pairs import NO_JSON, SOUND
from data_pipelines.prepare_report import PrepareReport
from data_pipelines.shards import ShardResult, Step, cannot_write
from data_pipelines.units import Unit
from samjax.core.errors import UserError
from samjax.core.text import printable
from samjax.data.stream.tolerance import TOLERATED, too_many

log = logging.getLogger(__name__)

_TOLD = 20
"""How many dropped records of a unit, and how many unreadable units, to list one by one in the log and in errors."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamRun:
    """Make the shards with Apache Beam."""

    runner: str
    """`DirectRunner`, `DataflowRunner`, `FlinkRunner`, `SparkRunner`, ..."""
    options: tuple[str, ...] = ()
    """Beam's own options, `--name=value`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalRun:
    """Make the shards on this machine."""

    workers: int | None = None
    """How many processes; None means one per core."""


ALL_CORES = LocalRun()


class MissingSourceError(UserError):
    """A source that is not there, or that holds nothing to prepare."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareProgress:
    """Progress of a preparation."""

    units: int
    """Done, including by an earlier run."""
    units_total: int
    size: int
    """Bytes of photos and descriptions read, also by an earlier run, of about `size_total`."""
    size_total: int
    photos: int
    """Written by this run; as are masks."""
    masks: int
    drops: int
    """By this run."""


def prepare(
    source: str | Sequence[str],
    out: str | os.PathLike[str],
    *,
    layout: Layout,
    split: str = "train",
    run: LocalRun | BeamRun = ALL_CORES,
    watch: Callable[[PrepareProgress], None] = lambda watched: None,
) -> PrepareReport:
    """Write `source` as ArrayRecord to the folder `out`, or resume; readers open it once it is complete.

    Args:
      source: what `layout` lists; local or as fsspec names it.
      out: the folder to make; it holds dataset_info.json at the end, and prepare_report.json. If it is already complete
        from the same source, nothing is done.
      layout: how to list the source, and which records to make.
      split: the name of the one split written, unless `layout` names them.
      run: where the shards are made. They are the same everywhere.
      watch: called periodically with the progress.

    Raises:
      MissingSourceError: the source is not there, or holds nothing to prepare.
      UserError: `out` holds something else or cannot be written, more than 1% of the records are
        unusable, or some units cannot be read (the others are then done and kept).
    """
    splits = layout.splits or (split,)
    for name in splits:
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise UserError(f"{name!r} cannot name a split: use letters, digits and _")
    split = "+".join(splits)
    try:
        units = layout.find_units(source)
    except UserError as error:
        raise MissingSourceError(str(error)) from error
    with open_out(os.fspath(out), layout=layout) as folder:
        try:
            if report := folder.complete_report(units, split=split):
                log.info("%s holds all of it already.", printable(folder.path))
                return report
            return _prepare(folder, units, layout=layout, split=split, run=run, watch=watch)
        except OSError as error:
            raise cannot_write(folder.path, error) from error


def _prepare(
    folder: OutFolder,
    units: Sequence[Unit],
    *,
    layout: Layout,
    split: str,
    run: LocalRun | BeamRun,
    watch: Callable[[PrepareProgress], None],
) -> PrepareReport:
    kept = _kept(folder, units, layout=layout)
    todo = [unit for unit in units if unit.key not in kept]
    if kept:
        log.info("%s: %d of %d units are done already.", printable(folder.path), len(units) - len(todo), len(units))
    results = dict(kept)
    errors: dict[str, str] = {}
    verdict = _Verdict(units, layout)
    verdict.judge(results, errors)
    if isinstance(run, BeamRun) and todo:
        beam_run.make_shards(todo, folder.path, runner=run.runner, options=run.options)
        errors = folder.errors()
        results = folder.results()
        for unit in todo:
            if unit.key in results:
                _tell(results[unit.key])
        missing = [unit.path for unit in todo if unit.key not in results and unit.key not in errors]
        if missing:
            raise UserError(f"{folder.path} lacks the shard of {missing[0]}: is it where every worker writes?")
    elif isinstance(run, LocalRun) and todo:
        workers = max(1, min(run.workers or _cores(), len(todo)))
        before = sum(unit.size for unit in units if unit.key in kept)
        total = sum(unit.size for unit in units)

        def watched(step: Step) -> None:
            watch(
                PrepareProgress(
                    units=len(results) + len(errors),
                    units_total=len(units),
                    size=before + step.size,
                    size_total=total,
                    photos=step.records,
                    masks=step.masks,
                    drops=step.drops,
                )
            )

        for _, result in local_run.make_shards(todo, folder.path, workers=workers, watch=watched):
            if result.error:
                errors[result.key] = result.error
            else:
                results[result.key] = result
                _tell(result)
            verdict.judge(results, errors)
    if errors:
        raise _unreadable(folder, units, errors, option=layout.option)
    ordered = [results[unit.key] for unit in units]
    verdict.conclude(ordered)
    return folder.publish(ordered, split=split)


def _kept(folder: OutFolder, units: Sequence[Unit], *, layout: Layout) -> dict[str, ShardResult]:
    """Return what an earlier run has done of `units`.

    Raises:
      UserError: it finished other units too, which the source no longer names, or wrote them with other settings: hours
        of work are not deleted without asking.
    """
    found = folder.results()
    if before := {result.settings for result in found.values()} - {layout.settings}:
        raise UserError(
            f"{folder.path} was begun {in_words(min(before))}, but this command would write it "
            f"{in_words(layout.settings)}: run the first command again, or remove {folder.path} to start over"
        )
    keys = {unit.key for unit in units}
    paths = {unit.path for unit in units}
    stale = {key: result.path for key, result in found.items() if key not in keys}
    if gone := sorted({path for path in stale.values() if path not in paths}):
        raise UserError(
            f"{folder.path} was begun with more than {layout.option} names: {len(gone)} finished sources are missing "
            f"now, {', '.join(gone[:3])}: name them too, or remove {folder.path} to start over"
        )
    if stale:
        log.warning("%s since they were prepared: done again.", printable("; ".join(compare(stale, units)[:1])))
        for key in stale:
            folder.forget(key)
    return {key: result for key, result in found.items() if key in keys}


class _Verdict:
    """Stops a preparation if more than 1% of its records are unusable, not counting photos of which nothing is known.

    Units are judged in the source's order, whichever finishes first, so the verdict depends only on the source.
    """

    def __init__(self, units: Sequence[Unit], layout: Layout):
        self._layout = layout
        self._keys = [unit.key for unit in units]
        self._at = self._seen = self._bad = 0
        self._lone: collections.Counter[str] = collections.Counter()
        self._last = ""

    def judge(self, results: dict[str, ShardResult], errors: dict[str, str]) -> None:
        """Count a finished unit.

        Raises:
          UserError: too many records are unusable.
        """
        while self._at < len(self._keys) and (self._keys[self._at] in results or self._keys[self._at] in errors):
            result = results.get(self._keys[self._at])
            self._at += 1
            if result is not None:
                self._add(result)
                self._check(total=sys.maxsize)

    def conclude(self, results: Sequence[ShardResult]) -> None:
        """Judge the whole, including duplicates across units.

        Raises:
          UserError: too many records are unusable, or all.
        """
        drops_repeats = self._layout.kind.renumber is None
        repeated = [len(positions) for positions in find_duplicates(results)] if drops_repeats else []
        self._bad += sum(repeated)
        if any(repeated):
            where = next(result for result, count in zip(results, repeated, strict=True) if count)
            self._last = f"{where.path}: {max(repeated)} records have an image_id that was seen before"
        self._check(total=self._seen)
        if self._bad == self._seen:
            names = ", ".join(result.path for result in results[:3])
            lone = "".join(f"; {count:,} photos have {kind}" for kind, count in self._lone.items())
            raise UserError(f"{names} hold no usable photo{lone}: give {self._layout.expectation}")
        for kind, count in self._lone.items():
            so = ", so no annotations," if kind == NO_JSON else ""
            log.warning("%d photos have %s%s and were left out.", count, kind, so)

    def _add(self, result: ShardResult) -> None:
        lone = {kind: count for kind, count in result.dropped.items() if kind in SOUND}
        self._lone.update(lone)
        self._seen += result.read - sum(lone.values())
        self._bad += sum(result.dropped.values()) - sum(lone.values())
        if bad := [drop for drop in result.drops if drop.kind not in SOUND]:
            self._last = f"{bad[-1].where}: {bad[-1].detail}"

    def _check(self, *, total: int) -> None:
        if too_many(bad=self._bad, seen=self._seen, total=total):
            raise UserError(
                f"{self._bad:,} of {self._seen:,} records cannot be used, more than {TOLERATED:.0%}; the last dropped: "
                f"{self._last}; correct or remove what holds them and prepare again"
            )


def _tell(result: ShardResult) -> None:
    for drop in result.drops[:_TOLD]:
        log.warning("%s: %s. Record dropped.", printable(drop.where), printable(drop.detail))
    dropped = sum(result.dropped.values())
    if dropped > _TOLD:
        log.warning("%s: %d more records dropped.", printable(result.path), dropped - _TOLD)


def _unreadable(folder: OutFolder, units: Sequence[Unit], errors: dict[str, str], *, option: str) -> UserError:
    told = [f"{unit.path} {errors[unit.key]}" for unit in units if unit.key in errors]
    rest = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    done = len(units) - len(told)
    state = f"the other {done} are done and kept in {folder.path}" if done else "nothing was written"
    return UserError(
        f"{len(told)} of {len(units)} could not be read: {'; '.join(told[:_TOLD])}{rest}. Fix or download them "
        f"again, or remove them from {option}, and run the same command: {state}"
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0))
