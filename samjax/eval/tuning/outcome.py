"""What a tuning chose: a table to read, and a file that `samjax generate --settings` takes."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samjax.core.files import write_whole
from samjax.eval.results import align_columns
from samjax.eval.tuning.grids import Grid
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.settings_file import FILE
from samjax.scores.single_iou import MaskScore


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Settings, and their score on some photos."""

    config: GeneratorConfig
    photos: int
    score: MaskScore

    def figures(self) -> dict[str, Any]:
        """Return photos and scores for JSON."""
        return {"photos": self.photos, **dataclasses.asdict(self.score)}

    def line(self, name: str) -> list[str]:
        """Return the trial as a line of the table."""
        score = self.score
        shares = [f"{value:.3f}" for value in (score.ap50, score.f1, score.precision, score.recall)]
        points = f"{Grid.of(self.config).points:,}"
        return [name, points, f"{self.photos:,}", *shares, f"{score.masks / self.photos:.1f}"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The settings chosen, those before, and what was tried."""

    metric: str
    fixed_fields: Sequence[str]
    before: Trial
    grids: Sequence[Trial]
    """Each grid at its best thresholds, on the photos that grids were compared on."""
    after: Trial
    trials: Mapping[GeneratorConfig, MaskScore]
    """With the grid chosen, on all photos."""
    objects: int
    """Of all photos."""

    def table(self) -> str:
        """Return the scores before and after, and of each grid, and the settings that changed."""
        heading = ["", "points", "photos", "AP50", "F1", "precision", "recall", "masks per photo"]
        lines = [heading, self.before.line("before")]
        if len(self.grids) > 1:
            lines += [trial.line(str(Grid.of(trial.config))) for trial in self.grids]
        lines.append(self.after.line("chosen"))
        before, after = (dataclasses.asdict(trial.config) for trial in (self.before, self.after))
        changed = [f"{name} {before[name]:g} -> {after[name]:g}" for name in after if before[name] != after[name]]
        return "\n".join([*align_columns(lines), "", f"changed: {', '.join(changed) or 'nothing'}"])

    def write(self, folder: Path, *, checkpoint: str, data: Mapping[str, Any]) -> Path:
        """Write `generator.json` into `folder`, which is made, and return its path.

        Args:
          checkpoint: whose masks were scored.
          data: what they were scored on, for JSON.
        """
        settings = dataclasses.asdict(self.after.config)
        names = [name for name in settings if len({getattr(config, name) for config in self.trials}) > 1]
        tried = [
            {**{name: getattr(config, name) for name in names}, "ap50": score.ap50, "f1": score.f1}
            for config, score in self.trials.items()
        ]
        content = {
            "checkpoint": checkpoint,
            "settings": settings,
            "metric": self.metric,
            "fixed": list(self.fixed_fields),
            "data": {**data, "objects": self.objects},
            "before": {"settings": dataclasses.asdict(self.before.config), **self.before.figures()},
            "after": self.after.figures(),
            "grids": [{**dataclasses.asdict(Grid.of(trial.config)), **trial.figures()} for trial in self.grids],
            "tried": tried,
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        write_whole(path, json.dumps(content, indent=1) + "\n")
        return path
