"""The progress bar that all commands show on a terminal."""

import contextlib
import sys
from collections.abc import Iterator


class Bar:
    """Moves a bar: call it with an increment, or `to` with the total done."""

    def __init__(self, progress, task):
        self._progress, self._task = progress, task

    def __call__(self, count: int, *, note: str | None = None) -> None:
        """Advance by `count`; a `note` is shown behind the bar until the next one."""
        self._update(note, advance=count)

    def to(self, done: int, *, total: int | None = None, note: str | None = None) -> None:
        """Move to `done`, of a `total` that may become known only now."""
        self._update(note, completed=done, **({} if total is None else {"total": total}))

    def _update(self, note: str | None, **change) -> None:
        self._progress.update(self._task, **change, **({} if note is None else {"note": note}))


@contextlib.contextmanager
def progress(what: str, *, total: int | None, done: int = 0, in_bytes: bool = False) -> Iterator[Bar]:
    """Show a bar on stderr for `total` `what`, of which `done` are done; it disappears when the context ends.

    Prints nothing without a terminal. `total` None means not known yet, see `Bar.to`; `in_bytes` counts bytes and shows
    their rate.
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
