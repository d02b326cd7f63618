"""A run's metrics and config, read from its workdir."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from samjax.core.errors import UserError
from samjax.training.trackers import JsonLines

METRICS, CONFIG = "metrics.jsonl", "config.json"


@dataclass(frozen=True, kw_only=True)
class Series:
    """One figure of a run, steps ascending; a step that was taken twice counts as the last time."""

    step: Int64[np.ndarray, "n"]
    value: Float64[np.ndarray, "n"]

    def at(self, steps: Int64[np.ndarray, "k"]) -> Float64[np.ndarray, "k"]:
        """Return the values at `steps`, all of them in `step`."""
        return self.value[np.searchsorted(self.step, steps)]


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """What a run logged, and how it was configured."""

    name: str
    series: Mapping[str, Series]
    """By figure: those of training by their names, those of validation as `val/NAME`."""
    fields: Mapping[str, Any] | None
    """The config's fields by their dotted names; None if the folder has no config."""

    @property
    def last_step(self) -> int:
        """Of all rows."""
        return max(int(series.step[-1]) for series in self.series.values())

    @classmethod
    def read(cls, folder: str | Path) -> "RunHistory":
        """Return the history in a run's workdir, or in a folder with its `metrics.jsonl` and `config.json`.

        Raises:
          UserError: there is no such folder, it has no metrics, or one of the files is damaged.
        """
        path = Path(folder).expanduser()
        if not (path / METRICS).is_file():
            what = "has no metrics.jsonl" if path.is_dir() else "is no folder"
            raise UserError(f"{folder} {what}: give the workdir of a run, or a folder with its {METRICS} and {CONFIG}")
        found: dict[str, dict[int, float]] = {}
        try:
            for row in JsonLines.read(path / METRICS):
                prefix = "" if row.get("split", "train") == "train" else f"{row['split']}/"
                for name, value in row.items():
                    if name not in ("step", "split") and not isinstance(value, str) and math.isfinite(value):
                        found.setdefault(prefix + name, {})[int(row["step"])] = float(value)
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            raise UserError(f"{path / METRICS} is not as a run writes it: {error!r}") from error
        if not found:
            raise UserError(f"{path / METRICS} holds no figure: has the run logged a step?")
        series = {}
        for name, values in found.items():
            steps = sorted(values)
            series[name] = Series(
                step=np.array(steps, np.int64), value=np.array([values[step] for step in steps], np.float64)
            )
        return cls(name=str(folder), series=series, fields=_fields(path / CONFIG))


def _fields(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{file} is no config: it must be a JSON object")
    return flat_fields(config)


def flat_fields(value: Any, name: str = "") -> dict[str, Any]:
    """Return a config's fields, parsed from JSON, by their dotted names."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    found: dict[str, Any] = {}
    for key, one in value.items():
        found |= flat_fields(one, f"{name}.{key}" if name else key)
    return found
