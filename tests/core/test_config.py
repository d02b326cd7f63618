"""Experiment files, and what is wrong with them."""

import json

import pytest

from samjax.core.config import from_json, load_experiment, to_json
from samjax.core.errors import UserError
from samjax.models.sam.sam import SamConfig
from samjax.nn.stack import Remat
from samjax.tasks.promptable import PromptableTraining


def test_a_config_is_saved_as_json_enums_by_value(micro_run):
    saved = json.loads(to_json(micro_run))
    assert saved["model"]["image_encoder"]["remat"] == Remat.NONE.value
    assert saved["model"]["image_size"] == [64, 64]


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
    with pytest.raises(UserError, match=r"vit_x\.py: no such experiment file; those shipped are .*sam/vit_b\.py"):
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


def test_a_config_comes_back_from_its_json(micro_run):
    assert from_json(PromptableTraining, json.loads(to_json(micro_run))) == micro_run


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"colour": 3}, r"model\.colour is not a field of this version's SamConfig"),
        ({"embedding": "wide"}, r"model\.embedding is 'wide', expected int"),
        ({"image_size": [64]}, r"model\.image_size is \[64\], expected tuple"),
        ({"dtype": "float8"}, r"model\.dtype is 'float8', expected"),
        ({"image_encoder": {"remat": "perhaps"}}, r"model\.image_encoder\.remat is 'perhaps', expected Remat"),
        ({"image_encoder": {"heads": 0}}, r"^model\.image_encoder\.heads is 0; it must be at least 1"),
        ({"mask_decoder": 3}, r"model\.mask_decoder is 3, expected the fields of MaskDecoderConfig"),
    ],
)
def test_a_config_of_another_version_names_the_field(change, sentence):
    with pytest.raises(UserError, match=sentence):
        from_json(SamConfig, change, name="model")


def test_a_value_out_of_range_names_where_it_is_from():
    with pytest.raises(UserError, match=r"^runs/old: model: model\.image_encoder\.heads is 0; it must be at least 1"):
        from_json(SamConfig, {"image_encoder": {"heads": 0}}, name="runs/old: model")


def test_a_config_without_what_it_needs_names_it():
    with pytest.raises(UserError, match=r"config\.data is missing"):
        from_json(PromptableTraining, {"steps": 3})
