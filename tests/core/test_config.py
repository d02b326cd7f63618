"""Experiment files, and what is wrong with them."""

import json

import pytest

from samjax.core.config import load_experiment, to_json
from samjax.core.errors import UserError
from samjax.nn.stack import Remat
from samjax.train.config import TrainConfig


def test_a_config_is_saved_as_json_enums_by_value(micro_run):
    saved = json.loads(to_json(micro_run))
    assert saved["model"]["image_encoder"]["remat"] == Remat.NONE.value
    assert saved["model"]["image_size"] == [64, 64]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("x = 1", r"defines no config\(\)"),
        ("config = 3", r"defines no config\(\)"),
        ("def config():\n    return {'steps': 3}", "returned a dict, expected a TrainConfig"),
    ],
)
def test_an_experiment_without_a_config_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(UserError, match=sentence) as error:
        load_experiment(path, TrainConfig)
    assert str(path) in str(error.value)


def test_a_missing_experiment_names_the_path(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.py"):
        load_experiment(tmp_path / "nothing.py", TrainConfig)


def test_an_experiment_may_start_from_its_neighbour(tmp_path):
    (tmp_path / "base_of_this_test.py").write_text("VALUE = 5\n")
    (tmp_path / "mine.py").write_text("import base_of_this_test\ndef config():\n    return base_of_this_test.VALUE\n")
    assert load_experiment(tmp_path / "mine.py", int) == 5
