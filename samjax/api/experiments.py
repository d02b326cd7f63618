"""Configs of experiment files, from Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samjax.core.experiment import load_experiment
from samjax.core.overrides import replace_fields
from samjax.training.config import TrainConfig


def experiment(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Return the config of the experiment file at `path`, with other values of some fields.

        samjax.experiment("experiments/sam/small.py", {"data.source": "my_records", "steps": 500})

    The shipped experiments are found from any folder. A config that is already there is changed in the same way by
    `samjax.core.overrides.replace_fields`, or by `dataclasses.replace`.

    Args:
      overrides: by the dotted names that `samjax train EXPERIMENT.py --help` lists, values of the fields' types.

    Raises:
      UserError: there is no such file, it fails, a name is no field, or a value does not fit it.
    """
    return replace_fields(load_experiment(path, TrainConfig), overrides or {})
