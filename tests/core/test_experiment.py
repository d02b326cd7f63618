"""Experiment files, and what is wrong with them."""

import pytest

from samjax.core.errors import UserError
from samjax.core.experiment import load_experiment
from samjax.tasks.promptable import PromptableTraining


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("x = 1", r"defines no config\(\)"),
        ("config = 3", r"defines no config\(\)"),
        ("def config():\n    return {'steps': 3}", "returned a dict, expected a PromptableTraining"),
    ],
)
def test_an_experiment_without_a_config_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(UserError, match=sentence) as error:
        load_experiment(path, PromptableTraining)
    assert str(path) in str(error.value)


BUILDS_ON_VIT_B = """
from dataclasses import replace

from experiments.sam import vit_b
from samjax.optim.build import OptimConfig


def config():
    return replace(vit_b.config(), steps=7)
"""


def test_an_experiment_in_any_folder_builds_on_a_shipped_one(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(BUILDS_ON_VIT_B)
    assert load_experiment(path, PromptableTraining).steps == 7


def test_a_shipped_experiment_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_experiment("experiments/sam/vit_b.py", PromptableTraining).steps == 180_000
    with pytest.raises(UserError, match=r"vit_x\.py: no such experiment file; shipped experiments: .*sam/vit_b\.py"):
        load_experiment("experiments/sam/vit_x.py", PromptableTraining)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("return replace(vit_b.config(), step=7)", r"line 9: TypeError: .*'step'"),
        ("return OptimConfig(wait_decay=0.1)", r"line 9: TypeError: .*'wait_decay'; did you mean weight_decay\?"),
        ("return nothing", r"line 9: NameError: name 'nothing' is not defined"),
        ("return (", "line 9: SyntaxError"),
    ],
)
def test_an_error_in_an_experiment_is_one_sentence_with_its_line(tmp_path, line, sentence):
    path = tmp_path / "mine.py"
    path.write_text(BUILDS_ON_VIT_B.replace("return replace(vit_b.config(), steps=7)", line))
    with pytest.raises(UserError, match=sentence) as error:
        load_experiment(path, PromptableTraining)
    assert str(path) in str(error.value)


def test_a_missing_experiment_names_the_path(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.py"):
        load_experiment(tmp_path / "nothing.py", PromptableTraining)


def test_an_experiment_may_start_from_its_neighbour(tmp_path):
    (tmp_path / "base_of_this_test.py").write_text("VALUE = 5\n")
    (tmp_path / "mine.py").write_text("import base_of_this_test\ndef config():\n    return base_of_this_test.VALUE\n")
    assert load_experiment(tmp_path / "mine.py", int) == 5
