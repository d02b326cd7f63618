"""The model in a checkpoint: of the class that is expected, or one sentence that says what is there."""

import dataclasses
import json
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.checkpoint.load import config_of, load_model, load_weights_and_config, model_record
from samjax.checkpoint.weights import save_weights
from samjax.core.errors import UserError
from samjax.core.json_config import to_json
from samjax.core.ranges import Count, config_class
from samjax.models.sam.sam import SamConfig
from samjax.nn.spatial_attention import AttentionKernel
from samjax.nn.stack import Remat

# See tests/checkpoint/test_checkpoints.py.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("leftovers_collected"),
]


class Line(nnx.Module):
    """A model of one parameter."""

    def __init__(self, config, *, rngs):
        self.slope, self.dtype = nnx.Param(jnp.zeros(config.width)), config.dtype


@config_class("model")
class LineConfig:
    """A straight line."""

    WORDS: ClassVar[str] = "a straight line"

    width: Count = 2
    dtype: Literal["float32", "bfloat16"] = "bfloat16"

    def make(self, *, rngs):
        return Line(self, rngs=rngs)


@config_class("model")
class CurveConfig:
    """A curve."""

    WORDS: ClassVar[str] = "a curve"

    bends: Count = 1


SLOPE = np.arange(2, dtype=np.float32)


def saved(folder, config, params=None):
    """Write weights with this config, as JSON; return their folder."""
    save_weights(folder, params={"slope": SLOPE} if params is None else params, buffers={}, config=config)
    return folder


def test_a_model_comes_with_its_weights_and_config(tmp_path):
    loaded = load_model(saved(tmp_path / "w", model_record(LineConfig())), LineConfig)
    np.testing.assert_array_equal(loaded.model.slope[...], SLOPE)
    assert loaded.config == LineConfig()
    assert loaded.path.name == "w"


def test_what_no_weights_depend_on_is_changed(tmp_path):
    loaded = load_model(saved(tmp_path / "w", model_record(LineConfig())), LineConfig, dtype="float32")
    assert loaded.config.dtype == loaded.model.dtype == "float32"


def test_a_model_of_another_class_is_named_with_what_was_expected(tmp_path):
    folder = saved(tmp_path / "w", model_record(LineConfig()))
    with pytest.raises(UserError) as error:
        load_model(folder, CurveConfig, needed_by="samjax predict")
    assert (
        str(error.value) == f"{folder} holds a straight line (LineConfig); samjax predict needs a curve (CurveConfig)"
    )


def test_one_of_several_classes_is_found_by_its_name(tmp_path):
    folder = saved(tmp_path / "w", model_record(LineConfig()))
    assert load_weights_and_config(folder, CurveConfig, LineConfig).config == LineConfig()
    with pytest.raises(
        UserError, match=r"holds a straight line \(LineConfig\); expected a curve \(CurveConfig\) or a "
    ):
        load_weights_and_config(folder, CurveConfig, SamConfig)


def test_without_a_class_fields_say_whose_it_is():
    """As in checkpoints of before it was recorded."""
    run = {"model": {"width": 3, "dtype": "float32"}}
    assert config_of(run, CurveConfig, LineConfig, name="old") == LineConfig(width=3, dtype="float32")
    with pytest.raises(UserError) as error:
        config_of(run, CurveConfig, name="old")
    assert str(error.value).startswith(
        "old: model.dtype is not a field of this version's CurveConfig; it holds another"
    )


def test_a_field_that_is_gone_is_named_with_its_file(tmp_path):
    record = model_record(LineConfig())
    folder = saved(tmp_path / "w", {**record, "model": record["model"] | {"intercept": 1}})
    with pytest.raises(UserError) as error:
        load_model(folder, LineConfig)
    assert str(error.value).startswith(
        f"{folder}: model.intercept is not a field of this version's LineConfig; another"
    )


@pytest.mark.parametrize("params", [{"slope": SLOPE[:1]}, {"slope": SLOPE, "bend": SLOPE}, {"bend": SLOPE}])
def test_a_part_or_more_than_the_model_is_refused(tmp_path, params):
    folder = saved(tmp_path / "w", model_record(LineConfig()), params)
    with pytest.raises(UserError, match="w: the arrays are not of the model that their config describes"):
        load_model(folder, LineConfig)
    assert load_weights_and_config(folder, LineConfig).weights.params.keys() == params.keys()


def test_a_checkpoint_without_a_model_is_told():
    with pytest.raises(UserError, match="describes no model; give a checkpoint of samjax train or samjax import"):
        config_of({"steps": 3}, LineConfig, name="x")


def test_how_a_run_computed_is_left_out(micro):
    encoder = dataclasses.replace(micro.image_encoder, attention=AttentionKernel.SPLASH, remat=Remat.FULL)
    run = {"model": json.loads(to_json(dataclasses.replace(micro, image_encoder=encoder)))}
    assert config_of(run, SamConfig, name="x") == micro
