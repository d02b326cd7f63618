"""The bar that commands show on a terminal: one look for all of them."""

import contextlib
import sys
from collections.abc import Iterator


class Bar:
    """What moves a bar: called with how many more are done, or `to` with how many are."""

    def __init__(self, progress, task):
        self._progress, self._task = progress, task

    def __call__(self, count: int, *, note: str | None = None) -> None:
        """Move on by `count`; a `note` stands behind the bar until the next one."""
        self._update(note, advance=count)

    def to(self, done: int, *, total: int | None = None, note: str | None = None) -> None:
        """Move to `done`, of a `total` that may only be known now."""
        self._update(note, completed=done, **({} if total is None else {"total": total}))

    def _update(self, note: str | None, **change) -> None:
        self._progress.update(self._task, **change, **({} if note is None else {"note": note}))


@contextlib.contextmanager
def progress(what: str, *, total: int | None, done: int = 0, in_bytes: bool = False) -> Iterator[Bar]:
    """Show a bar of `total` `what`, `done` of which there are, on stderr; it goes when the block ends.

    Where no terminal shows it, nothing is printed. `total` None is not known yet, see `Bar.to`; `in_bytes` says that
    bytes are counted, and shows their speed.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        *((DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        yield Bar(bar, bar.add_task(what, total=total, completed=done, note=""))
