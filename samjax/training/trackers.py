"""Where a run's numbers and pictures go."""

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from etils import epath
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from samjax.core.files import write_whole

Row = Mapping[str, float | int | str]


class Tracker(Protocol):
    """Receives what the loop reports. `step` counts updates."""

    def row(self, row: Row) -> None:
        """Record one row of metrics; `step` and `split` name it, the rest are numbers."""
        ...

    def picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        """Record one picture."""
        ...

    def close(self) -> None:
        """Flush."""
        ...


class JsonLines:
    """`metrics.jsonl`, one JSON object per row. A resumed run drops the rows after the step it resumes from."""

    def __init__(self, path: epath.PathLike, *, resume_step: int):
        self._path = epath.Path(path)
        kept = [row for row in self.read(self._path) if int(row["step"]) <= resume_step]
        write_whole(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._path.open("a")

    @staticmethod
    def read(path: epath.PathLike) -> list[Row]:
        """Return the rows of a file, an empty list if there is no file; a last line cut off by a crash is dropped."""
        if not epath.Path(path).exists():
            return []
        rows = []
        for line in epath.Path(path).read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def row(self, row: Row) -> None:
        """Append and flush, so that a killed run keeps its rows."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        """Pictures go elsewhere."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Pictures:
    """`samples/NAME_STEP.png`."""

    def __init__(self, directory: epath.PathLike):
        self._directory = epath.Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)

    def row(self, row: Row) -> None:
        """Numbers go elsewhere."""

    def picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        """Write the PNG."""
        with (self._directory / f"{name}_{step:06d}.png").open("wb") as file:
            Image.fromarray(picture).save(file, format="PNG")

    def close(self) -> None:
        """Nothing is open."""


class TensorBoard:
    """Scalars and pictures as TensorBoard events."""

    def __init__(self, directory: epath.PathLike):
        from tensorboardX import (
            SummaryWriter,
        )  # imports PyTorch if installed, which takes seconds: the lead process only

        self._writer = SummaryWriter(str(directory))

    def row(self, row: Row) -> None:
        """Write each number under its split."""
        split, step = row.get("split", "train"), int(row["step"])
        for name, value in row.items():
            if name not in ("step", "split") and not isinstance(value, str):
                self._writer.add_scalar(f"{split}/{name}", value, step)

    def picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        """Write the picture."""
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class Terminal:
    """A progress bar with photos/s and remaining time on a terminal, plain lines elsewhere, nothing if `quiet`."""

    _SHOWN: Sequence[str] = (
        *("loss", "miou", "grad_norm", "lr"),
        *("images_per_s", "mfu", "step_s", "data_wait_s", "goodput"),
    )

    def __init__(self, *, steps: int, start: int, console: Console | None = None, quiet: bool = False):
        self._console = console or Console(soft_wrap=True, quiet=quiet)
        self._progress = None
        if self._console.is_terminal and not quiet:
            columns = (
                TextColumn("step"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self._progress = Progress(*columns, console=self._console)
            self._progress.start()
            self._task = self._progress.add_task("", total=steps, completed=start)
        self._steps = steps

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, highlight=False, markup=False)

    def row(self, row: Row) -> None:
        """Show a row: validation as a line; training as the bar's text, or as a line if there is no terminal."""
        split = row.get("split", "train")
        shown = self._SHOWN if split == "train" else [name for name in row if name not in ("step", "split")]
        text = "  ".join(f"{name} {row[name]:.4g}" for name in shown if name in row)
        if self._progress is not None and split == "train":
            self._progress.update(self._task, completed=int(row["step"]), description=text)
        else:
            self.say(f"step {row['step']:>6}/{self._steps}  {split}  {text}")

    def picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        """Pictures go elsewhere."""

    def close(self) -> None:
        """Stop the bar where it is."""
        if self._progress is not None:
            self._progress.stop()
