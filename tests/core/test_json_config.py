"""Configs written as JSON and read back."""

import json

import pytest

from samjax.core.errors import UserError
from samjax.core.json_config import from_json, to_json
from samjax.models.sam.sam import SamConfig
from samjax.nn.stack import Remat
from samjax.tasks.promptable import PromptableTraining


def test_a_config_is_saved_as_json_enums_by_value(micro_run):
    saved = json.loads(to_json(micro_run))
    assert saved["model"]["image_encoder"]["remat"] == Remat.NONE.value
    assert saved["model"]["image_size"] == [64, 64]


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
