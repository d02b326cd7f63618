"""The best validation of a run so far: which checkpoint to keep for it, and whether to wait for a better one.

Its state is a function of the run's rows, so that a start goes on where the one before ended.
"""

import os
from collections.abc import Collection, Iterable

from etils import epath

from samjax.core.errors import UserError
from samjax.core.files import is_bucket
from samjax.train.config import TrainConfig
from samjax.train.trackers import Row
from samjax.train.validation import Better

LINK = "best"
"""Name of the link in a workdir to its best checkpoint."""


class BestValidation:
    """Follows the figure `config.checkpoint.best`, the way the task says is better; without one it finds nothing."""

    def __init__(self, config: TrainConfig, rows: Iterable[Row] = (), *, start: int = 0, saved: Collection[int] = ()):
        """Take in the rows up to step `start`; of the steps in `saved` there are checkpoints."""
        self.metric = config.checkpoint.best
        self._better = config.validation_figures().get(self.metric, Better.HIGHER)
        self._patience = config.validation.patience
        self.step: int | None = None
        """Step of the best validation whose state is saved or can still be."""
        self.value = self._better.worst
        """The figure of `step`."""
        self._best = self._better.worst
        self._waited = 0  # validations since the best figure of all
        for row in rows:
            if row.get("split") == "val" and int(row["step"]) <= start and self.metric in row:
                self._take(row, can_be_saved=int(row["step"]) in saved)

    def add(self, row: Row) -> None:
        """Take in a validation that has just been made.

        Raises:
          UserError: it has no such figure.
        """
        if not self.metric:
            return
        if self.metric not in row:
            names = ", ".join(name for name in row if name not in ("step", "split"))
            raise UserError(f"checkpoint.best is {self.metric!r}, which validation does not report; it reports {names}")
        self._take(row, can_be_saved=True)

    def _take(self, row: Row, *, can_be_saved: bool) -> None:
        value = float(row[self.metric])
        better = self._better.than(value, self._best)
        self._waited = 0 if better else self._waited + 1
        self._best = value if better else self._best
        if can_be_saved and self._better.than(value, self.value):
            self.step, self.value = int(row["step"]), value

    @property
    def wait_text(self) -> str:
        """How long nothing was better, in words."""
        return f"{self.metric} has not {self._better.verb} {self._best:.4g} in {self._waited} validations"

    @property
    def patience_is_over(self) -> bool:
        """Whether as many validations in a row as the run has patience for were no better."""
        return bool(self.metric) and 0 < self._patience <= self._waited

    def summary(self, workdir: epath.Path) -> str:
        """Return which checkpoint is the best, as a line."""
        link = workdir / LINK
        place = link if not is_bucket(workdir) and link.exists() else workdir / "checkpoints" / str(self.step)
        return f"best {self.metric} {self.value:.4g} at step {self.step}: {place}"


def is_over(config: TrainConfig, rows: Iterable[Row], *, step: int) -> bool:
    """Return whether a run at `step` has nothing left to do: its last step is taken, or its patience is over."""
    return step >= config.steps or BestValidation(config, rows, start=step).patience_is_over


def way_on(config: TrainConfig, step: int) -> str:
    """Return how a run that ended at `step` can go on, in words."""
    if step >= config.steps:
        return f"give more than --steps {config.steps} to go on"
    return f"give more than --validation.patience {config.validation.patience} to go on"


def link_best(workdir: epath.Path, step: int) -> bool:
    """Let the link `best` in `workdir` lead to the checkpoint of `step`, if that is whole; return whether it does.

    Where there are no links, as in buckets, there is nothing to do.
    """
    target = os.path.join("checkpoints", str(step))
    if is_bucket(workdir):
        return True
    if not (workdir / target).exists():
        return False
    link, fresh = os.fspath(workdir / LINK), os.fspath(workdir / f".{LINK}.{os.getpid()}")
    try:
        if os.path.islink(link) and os.readlink(link) == target:
            return True
        os.symlink(target, fresh)
        os.replace(fresh, link)
    except OSError:
        if os.path.islink(fresh):
            os.unlink(fresh)
    return True
