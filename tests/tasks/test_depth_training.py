"""What a run of depth counts, how it validates, and that a small DPT learns depth."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.depth_scenes import write_depth_scenes
from helpers.tiny_dense import tiny_dense, tiny_depth

from data_pipelines.depth_photos import DepthUnits, prepare
from data_pipelines.preparation import LocalRun
from samjax.core.batches import DepthBatch
from samjax.core.errors import UserError
from samjax.data.depth_data import DepthDataConfig
from samjax.data.records.depths import inverse_depths
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.models.heads.dpt import DptDepthConfig
from samjax.models.heads.head import HeadOutput
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import PolynomialConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import replicated
from samjax.scores.depth_errors import DepthProtocol, aligned_depth, depth_errors, mean_errors
from samjax.tasks.depth import DepthTraining, DepthValidationConfig
from samjax.tasks.depth_validation import DepthValidator
from samjax.training.config import StepKeys
from samjax.training.state import init_state, make_blueprint
from samjax.training.step import make_train_step

KEYS = StepKeys(model=jax.random.key(0), task=jax.random.key(0))
SIDE = 16
WEIGHTS = np.array([1.0, 0.3, -0.2], np.float32)
SIZES = np.array([[16, 16], [10, 16], [16, 7], [16, 16], [0, 0], [16, 16]], np.int32)
DRAW = np.random.default_rng(0)


def run(**changes) -> DepthTraining:
    fields = {"model": tiny_depth(image_size=(SIDE, SIDE)), "data": DepthDataConfig(source="x")}
    return DepthTraining(**{**fields, **changes})


class Shades(DenseModel):
    """Says that what is bright in red is near."""

    def __init__(self, config: DenseConfig):
        self.config, self.weights = config, nnx.Param(jnp.asarray(WEIGHTS))

    def __call__(self, image, valid_size=None, *, key=None, rows=None):
        return HeadOutput(logits=(image / 255 @ self.weights[...])[..., None])


@pytest.fixture
def batch() -> DepthBatch:
    """Six rows: whole photos, padded ones, one of which nothing is known, and one without a photo."""
    inverse = DRAW.uniform(0.1, 2.0, (6, SIDE, SIDE)) * (DRAW.random((6, SIDE, SIDE)) < 0.6)
    inverse[3] = 0.0
    return DepthBatch(
        image=jnp.asarray(DRAW.integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)),
        valid_size=jnp.asarray(SIZES),
        inverse_depth=jnp.asarray(inverse, jnp.float32),
        record_id=jnp.array([0, 1, 2, 3, -1, 5], jnp.int32),
    )


CONFIG = run()
GRAPH, PARAMS, REST = nnx.split(Shades(CONFIG.model), nnx.Param, ...)


@jax.jit
def loss_and_gradient(batch: DepthBatch):
    def loss(params):
        return CONFIG.objective(nnx.merge(GRAPH, params, REST), batch, keys=KEYS)[0]

    value, gradient = jax.value_and_grad(loss)(PARAMS)
    return jnp.concatenate([value[None], *jax.tree.leaves(gradient)]), CONFIG.weight(batch)


def test_known_pixels_of_the_photos_count_and_no_others(batch):
    """Where these are told exactly nothing is lost, whatever is in the padding, in rows that hold no photo or of which
    nothing is known, and on unknown pixels; a single wrong one costs."""
    valid = np.zeros((6, SIDE, SIDE), bool)
    for row, (height, width) in enumerate(SIZES):
        valid[row, :height, :width] = np.asarray(batch.inverse_depth[row])[:height, :width] > 0
    shade = np.asarray(batch.image) / np.float32(255) @ WEIGHTS
    elsewhere = np.where(np.asarray(batch.inverse_depth) > 0, DRAW.uniform(1, 9, valid.shape), 0)
    inverse = np.where(valid, 3 * shade + 1, elsewhere).astype(np.float32)
    true = dataclasses.replace(batch, inverse_depth=jnp.asarray(inverse))
    (found, *_), weight = loss_and_gradient(true)
    assert weight == 4
    assert abs(found) < 1e-5
    inverse[0][tuple(np.argwhere(valid[0])[7])] += 0.5
    wrong = dataclasses.replace(batch, inverse_depth=jnp.asarray(inverse))
    assert loss_and_gradient(wrong)[0][0] > 1e-3


def test_parts_of_a_batch_average_as_the_whole_does(batch):
    """By their weights, loss and gradient; parts of two rows have one photo with a known pixel, or two."""
    split = [jax.tree.map(lambda leaf, at=at: leaf[2 * at : 2 * at + 2], batch) for at in range(3)]
    parts, weights = zip(*map(loss_and_gradient, split), strict=True)
    assert [float(weight) for weight in weights] == [2, 1, 1]
    whole, weight = loss_and_gradient(batch)
    average = sum(own * part for own, part in zip(weights, parts, strict=True)) / weight
    np.testing.assert_allclose(average, whole, rtol=1e-5)


def test_a_model_of_classes_is_refused():
    with pytest.raises(UserError, match=r"model\.head gives classes, not depth: give a head for depth"):
        run(model=tiny_dense())


def test_weights_of_a_depth_model_of_another_frame_are_converted():
    config = run()
    assert config.must_convert(tiny_depth(image_size=(32, 64)))
    assert not config.must_convert(config.model)
    assert config.starting_models()[0] is DenseConfig


@pytest.mark.slow
def test_validation_scores_each_photo_aligned_to_its_truth(batch):
    """Rows without a photo and photos without a known pixel do not count."""
    protocol, mesh = DepthProtocol(farthest=9.0), make_mesh(MeshConfig(data=1), jax.devices()[:1])
    batches = [batch, batch]
    validator = DepthValidator(
        lambda *state: nnx.merge(GRAPH, *state), protocol=protocol, loss=CONFIG.loss, batches=lambda: batches,
        sheet_rows=2, replicated=replicated(mesh),
    )  # fmt: skip
    state = types.SimpleNamespace(params=PARAMS, buffers=REST)
    metrics, sheet = validator(state, 0)
    errors = []
    for at in (0, 1, 2, 5):
        height, width = SIZES[at]
        truth = inverse_depths(np.asarray(batch.inverse_depth[at])[:height, :width])
        shade = np.asarray(batch.image[at])[:height, :width] / 255 @ WEIGHTS
        errors.append(depth_errors(aligned_depth(shade, truth, protocol), truth, protocol))
    mean = mean_errors(errors)
    for name in ("abs_rel", "delta1", "rmse"):
        assert metrics[name] == pytest.approx(getattr(mean, name), rel=1e-4), name
    assert metrics["photos"] == 10
    assert metrics["loss"] == pytest.approx(float(loss_and_gradient(batch)[0][0]), rel=1e-5)
    assert sheet["val_depth"].ndim == 3
    batches[:] = [dataclasses.replace(batch, inverse_depth=jnp.zeros_like(batch.inverse_depth))]
    with pytest.raises(UserError, match=r"validation\.source: no photo has a pixel.*validation\.farthest is 9 metres"):
        validator(state, 0)


@pytest.mark.slow
@pytest.mark.long
def test_a_small_dpt_learns_eight_photos(tmp_path):
    """AbsRel of 0.37 when it begins falls below 0.10 within 200 steps."""
    folder = write_depth_scenes(tmp_path, photos=8)
    units = DepthUnits(scale=1000.0)
    prepare(folder / "depth", folder / "out", images=folder / "photos", of=units, run=LocalRun(workers=1))
    source = str(folder / "out")
    vit = DptVitConfig(width=32, depth=4, heads=2, taps=(0, 1, 2, 3), table_size=(64, 64))
    head = DptDepthConfig(width=16, map_widths=(8, 8, 16, 16), hidden=8)
    config = DepthTraining(
        model=tiny_depth(encoder=vit, head=head),
        data=DepthDataConfig(source=source),
        optim=OptimConfig(schedule=PolynomialConfig(peak_lr=3e-3, warmup_steps=20), weight_decay=0.0, layer_decay=1.0),
        validation=DepthValidationConfig(source=source, split="train", photos=8, batch_size=8, farthest=10.0),
        mesh=MeshConfig(data=1),
        steps=200,
        batch_size=8,
    )
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    blueprint, key = make_blueprint(config, mesh), jax.random.key(0)
    (batch,) = config.validation_batches(mesh)
    with jax.set_mesh(mesh):
        state = jax.jit(functools.partial(init_state, blueprint, config))(key)
        step = jax.jit(make_train_step(config, blueprint), donate_argnums=0)
        validator = config.validator(blueprint.model, mesh)
        assert validator is not None
        before = validator(state, 0)[0]["abs_rel"]
        for _ in range(config.steps):
            state, _ = step(state, batch, key)
        after = validator(state, config.steps)[0]["abs_rel"]
    print(f"AbsRel {before:.3f} to {after:.3f}")
    assert before > 0.3
    assert after < 0.10
