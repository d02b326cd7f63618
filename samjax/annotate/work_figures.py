"""Figures of people's work: seconds a mask, masks a photo, by source, by person and by checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class WorkFigures:
    """What `samjax annotate stats DIR` prints."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        raise NotImplementedError


def work_figures(out: str | Path) -> WorkFigures:
    """Return the figures of an annotation folder, which a server may be writing to.

    Raises:
      UserError: it is no annotation folder, or its events are damaged.
    """
    raise NotImplementedError


def draw_work(path: Path, figures: WorkFigures) -> None:
    """Write the figures as a picture."""
    raise NotImplementedError
