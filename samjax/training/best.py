"""The best validation of a run so far: which checkpoint to keep, and when to stop early.

Its state is computed from the run's rows, so a resumed run continues exactly where the previous start ended.
"""

import os
from collections.abc import Collection, Iterable

from etils import epath

from samjax.core.errors import UserError
from samjax.core.files import is_bucket
from samjax.training.config import TrainConfig
from samjax.training.trackers import Row
from samjax.training.validation import Better

LINK = "best"
"""Name of the link in a workdir to its best checkpoint."""


class BestValidation:
    """Tracks the metric `config.checkpoint.best`; the task says whether higher or lower is better. Does nothing without
    one."""

    def __init__(self, config: TrainConfig, rows: Iterable[Row] = (), *, start: int = 0, saved: Collection[int] = ()):
        """Read the rows up to step `start`; `saved` lists the steps that have a checkpoint."""
        self.metric = config.checkpoint.best
        self._better = config.validation_figures().get(self.metric, Better.HIGHER)
        self._patience = config.validation.patience
        self.step: int | None = None
        """Step of the best validation whose state is saved or can still be saved."""
        self.value = self._better.worst
        """The metric's value at `step`."""
        self._best = self._better.worst
        self._waited = 0  # validations since the best value
        for row in rows:
            if row.get("split") == "val" and int(row["step"]) <= start and self.metric in row:
                self._take(row, can_be_saved=int(row["step"]) in saved)

    def add(self, row: Row) -> None:
        """Record a new validation.

        Raises:
          UserError: the row lacks the metric.
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
        """How long the metric has not improved, in words."""
        return f"{self.metric} has not {self._better.verb} {self._best:.4g} in {self._waited} validations"

    @property
    def patience_is_over(self) -> bool:
        """Whether `patience` validations in a row brought no improvement."""
        return bool(self.metric) and 0 < self._patience <= self._waited

    def summary(self, workdir: epath.Path) -> str:
        """Return one line that names the best checkpoint."""
        link = workdir / LINK
        place = link if not is_bucket(workdir) and link.exists() else workdir / "checkpoints" / str(self.step)
        return f"best {self.metric} {self.value:.4g} at step {self.step}: {place}"


def is_over(config: TrainConfig, rows: Iterable[Row], *, step: int) -> bool:
    """Return whether a run at `step` is finished: it has taken its last step, or its patience has run out."""
    return step >= config.steps or BestValidation(config, rows, start=step).patience_is_over


def way_on(config: TrainConfig, step: int) -> str:
    """Return how to continue a run that ended at `step`, in words."""
    if step >= config.steps:
        return f"give more than --steps {config.steps} to continue"
    return f"give more than --validation.patience {config.validation.patience} to continue"


def link_best(workdir: epath.Path, step: int) -> bool:
    """Point the link `best` in `workdir` at the checkpoint of `step` if that checkpoint is complete; return whether it
    did.

    Does nothing where links do not exist, as in buckets.
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
