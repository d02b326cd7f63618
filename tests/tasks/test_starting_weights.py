"""Segment Anything weights of another frame, as a run starts from them."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from etils import epath
from flax import nnx
from helpers.micro import drawn_micro, micro_model, micro_run

from samjax.checkpoint.load import model_record
from samjax.checkpoint.manager import Checkpoints
from samjax.checkpoint.weights import Weights, load_weights, save_weights
from samjax.core.errors import UserError
from samjax.core.json_config import to_json
from samjax.core.tree import named_leaves, nest
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.linear import LinearConfig
from samjax.models.vit.tapped_vit import TappedVitConfig
from samjax.nn.init import Buffer
from samjax.nn.resize import resize_positions
from samjax.nn.structure import array_shapes
from samjax.parallel.mesh import make_mesh
from samjax.training.start import begin, find_starting_weights
from samjax.training.state import make_blueprint


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Those of the micro model, drawn, in a folder; and its parameters by name."""
    _, params, buffers = nnx.split(drawn_micro(3), nnx.Param, Buffer)
    params, buffers = nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)
    path = tmp_path_factory.mktemp("weights") / "micro"
    save_weights(path, params=params, buffers=buffers, config={"model": json.loads(to_json(micro_model()))})
    return path, named_leaves(params)


def run_of(weights, **model):
    return micro_run(
        "synthetic:photos=8,size=64", init_from=str(weights), model=dataclasses.replace(micro_model(), **model)
    )


def test_tables_are_resized_and_all_else_is_the_weights(weights, tmp_path):
    path, given = weights
    run = run_of(path, image_size=(96, 64))
    blueprint = make_blueprint(run, make_mesh(run.mesh, jax.devices()[:1]))
    checkpoints, stream = Checkpoints(tmp_path / "checkpoints", keep=1), run.stream()
    beginning = begin(run, blueprint, checkpoints=checkpoints, stream=stream, run=jax.random.key(0))
    stream.close()
    checkpoints.close()
    params = named_leaves(beginning.state.params)
    assert params.keys() == given.keys()
    resized = {name for name in params if params[name].shape != given[name].shape}
    assert resized == {
        "image_encoder/position",
        "image_encoder/groups/full/attention/row_positions",
    }
    for name in params.keys() - resized:
        np.testing.assert_array_equal(params[name], given[name], err_msg=name)
    expected = resize_positions(np.asarray(given["image_encoder/position"]), (6, 4))
    np.testing.assert_array_equal(params["image_encoder/position"], expected)
    assert "position table: 4 x 4 to 6 x 4 tokens, bicubically" in beginning.message
    assert "1 relative position tables" in beginning.message


def test_an_image_encoder_starts_from_the_plain_vit_of_a_dense_model():
    """Such as one of ImageNet: its blocks and patches as they are, its positions without the learned tokens' and
    resized. A backbone of another kind is refused."""
    encoder = micro_model().image_encoder
    sizes = {name: getattr(encoder, name) for name in ("width", "depth", "heads", "mlp_ratio", "patch")}
    dense = DenseConfig(
        image_size=(32, 32), encoder=TappedVitConfig(**sizes, map_norms=True), head=LinearConfig(), dtype="float32"
    )
    draw = np.random.default_rng(0)
    params = nest(
        {path: draw.normal(size=shape).astype(np.float32) for path, shape in array_shapes(dense.make).items()}
    )
    found = Weights(params=params, buffers={}, config=model_record(dense), path=epath.Path("runs/theirs"))
    run = run_of("")
    assert run.must_convert(dense)
    begin = named_leaves(run.convert_weights(found, dense).params["image_encoder"])
    given = params["encoder"]
    table = resize_positions(
        given["position"][1:].reshape(32 // encoder.patch, 32 // encoder.patch, -1), run.model.grid
    )
    np.testing.assert_array_equal(begin["position"], table)
    np.testing.assert_array_equal(begin["patch_embed/kernel"], given["patch_embed"]["kernel"])
    last = given["groups"]["full"]["mlp"]["up"]["kernel"][-1]
    np.testing.assert_array_equal(begin["groups/full/mlp/up/kernel"][-1], last)
    with pytest.raises(UserError, match=r"runs/theirs holds a dense prediction model, whose backbone is PyramidConfig"):
        run.convert_weights(found, DenseConfig())


def test_frequencies_of_places_are_scaled_as_the_frame(weights):
    """So that what the weights know of pixels side by side still holds in a frame of twice the size."""
    path, _ = weights
    for frame in ((64, 64), (128, 128)):
        run = run_of(path, image_size=frame, position_scale=2.0)
        found = find_starting_weights(run, make_blueprint(run, make_mesh(run.mesh, jax.devices()[:1])))
        assert "frequencies of places: times 2, from position_scale 1" in found.notes
    assert list(named_leaves(found.buffers)) == ["prompt_encoder/position/gaussian"]
    small, large = (make.make(rngs=nnx.Rngs(0)).prompt_encoder.position for make in (micro_model(), run.model))
    small.gaussian[...] = named_leaves(load_weights(path).buffers)["prompt_encoder/position/gaussian"]
    large.gaussian[...] = named_leaves(found.buffers)["prompt_encoder/position/gaussian"]
    alike = []
    for code, side in ((small, 64), (large, 128)):
        here, beside = code(jax.numpy.array([[10.0, 20.0], [12.0, 20.0]]), (side, side))
        alike.append(np.vdot(here, beside) / np.vdot(here, here))
    assert alike[0] == pytest.approx(alike[1], rel=1e-4)
    assert alike[0] < 0.99


def test_weights_of_this_frame_are_not_read_before_the_start(weights):
    path, given = weights
    run = run_of(path)
    blueprint = make_blueprint(run, make_mesh(run.mesh, jax.devices()[:1]))
    found = find_starting_weights(run, blueprint)
    assert not hasattr(found, "params")
    assert len(found.shapes) == len(given) + 1  # the position encoding's matrix


def test_weights_of_another_frame_and_width_are_refused(weights):
    path, _ = weights
    encoder = dataclasses.replace(micro_model().image_encoder, width=64)
    run = run_of(path, image_size=(96, 64), image_encoder=encoder)
    blueprint = make_blueprint(run, make_mesh(run.mesh, jax.devices()[:1]))
    with pytest.raises(UserError, match=r"init_from: .*micro: the arrays are not those of this image encoder"):
        find_starting_weights(run, blueprint)
