"""Reference runs are of the experiments as they are, and the README quotes them."""

import json
import re
from pathlib import Path

import pytest

from samjax.core.experiment import load_experiment
from samjax.runs.run_history import RunHistory, flat_fields
from samjax.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
REFERENCES = ROOT / "runs" / "reference"
EXPERIMENTS = {
    "demo": "experiments/sam/smoke.py",
    "mae": "experiments/mae/smoke.py",
    "nuclei": "experiments/nuclei/whole_photos.py",
}
PLACES = {"data.source", "validation.source"}
"""Where a run's data lay."""


def test_every_reference_is_listed():
    folders = sorted(path.name for path in REFERENCES.iterdir() if path.is_dir())
    assert folders == sorted(EXPERIMENTS)
    page = (REFERENCES / "README.md").read_text()
    for name, experiment in EXPERIMENTS.items():
        assert re.search(rf"\| `{name}` \| `samjax train {experiment}", page), name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_reference_is_of_the_experiment_as_it_is(name):
    run = RunHistory.read(REFERENCES / name)
    config = load_experiment(ROOT / EXPERIMENTS[name], TrainConfig)
    fields = flat_fields(json.loads(config.to_json()))
    assert run.fields is not None
    assert {key: value for key, value in run.fields.items() if key not in PLACES} == {
        key: value for key, value in fields.items() if key not in PLACES
    }
    assert run.last_step == config.steps
    assert not any(str(run.fields[key]).startswith("/") for key in PLACES)


def test_readme_quotes_the_demo():
    series = RunHistory.read(REFERENCES / "demo").series
    one, eight = (series[f"val/miou@{clicks}"].value for clicks in (1, 8))
    said = f"from {one[0]:.2f} to {one[-1]:.2f} after one click and from {eight[0]:.2f} to {eight[-1]:.2f} after eight"
    assert said in " ".join((ROOT / "README.md").read_text().replace("*", "").split())
