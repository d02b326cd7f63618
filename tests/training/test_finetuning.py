"""A run with everything at once: a frozen part, adapters, an average, and batches in parts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.micro import micro_mae
from jax.sharding import PartitionSpec

from samjax.checkpoint.load import load_model
from samjax.checkpoint.manager import Checkpoints
from samjax.checkpoint.weights import load_weights, read_shapes
from samjax.core.errors import UserError
from samjax.core.tree import matches, named_leaves, overlay, select
from samjax.data.photo_data import PhotoDataConfig
from samjax.models.mae import MaeConfig
from samjax.nn.adapters import AdaptersConfig
from samjax.optim.averaging import moving_average
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import ConstantConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.tasks.masked_images import MaskedImageTraining
from samjax.training.config import CheckpointConfig
from samjax.training.loop import train
from samjax.training.start import begin
from samjax.training.state import init_state, make_blueprint
from samjax.training.trackers import JsonLines

# See tests/checkpoint/test_checkpoints.py.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("leftovers_collected"),
]

EMA, STEPS = 0.3, 4
MUON = ("decoder/groups/**/mlp/*/kernel",)


@pytest.fixture(scope="module")
def config():
    """Four steps of a small masked autoencoder."""
    model = micro_mae()
    return MaskedImageTraining(
        model=model,
        data=PhotoDataConfig(source="synthetic:photos=16,size=48"),
        optim=OptimConfig(schedule=ConstantConfig(peak_lr=1e-2, warmup_steps=0), muon=MUON),
        mesh=MeshConfig(data=1),
        checkpoint=CheckpointConfig(every=2),
        steps=STEPS,
        batch_size=4,
        log_every=1,
        trainable=("decoder/**",),
        adapters=AdaptersConfig(rank=2),
        accumulate=2,
        ema=EMA,
    )


def run(config, workdir, *, validated=None):
    """Train; `validated` gets the parameters that validation sees."""

    def validate(state, step):
        if validated is not None:
            validated[step] = jax.device_get(state.params)
        return {"loss": 0.0}, {}

    mesh = make_mesh(config.mesh, jax.devices()[:1])
    stream = config.stream(sharding=batch_sharding(mesh))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(config), "validator", lambda *_: validate)
        try:
            return train(config, workdir=workdir, mesh=mesh, stream=stream)
        finally:
            stream.close()


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """An uninterrupted run: its workdir, its last state, and what it was validated with by step."""
    workdir, validated = tmp_path_factory.mktemp("whole"), {}
    return workdir, jax.device_get(run(config, workdir, validated=validated)), validated


@pytest.fixture(scope="module")
def first(config):
    """The state it starts from."""
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    return jax.device_get(init_state(make_blueprint(config, mesh), config, jax.random.key(config.seed)))


@pytest.mark.slow
def test_it_resumes_bit_for_bit(config, whole, tmp_path):
    run(dataclasses.replace(config, steps=2), tmp_path)
    state = run(config, tmp_path)
    for name, leaf in named_leaves(whole[1]).items():
        np.testing.assert_array_equal(named_leaves(state)[name], leaf, err_msg=name)
    losses = [
        [(row["step"], row["loss"]) for row in JsonLines.read(folder / "metrics.jsonl") if row.get("split") != "val"]
        for folder in (tmp_path, whole[0])
    ]
    assert losses[0] == losses[1]


def test_adapters_and_the_trainable_part_move_alone(whole, first):
    for name, leaf in named_leaves(whole[1].params).items():
        moves = name.startswith("decoder/")
        assert np.array_equal(leaf, named_leaves(first.params)[name]) != moves, name
    adapters = named_leaves(whole[1].adapters)
    assert {name.split("kernel/")[1] for name in adapters} == {"down", "up"}
    assert all(matches(name, "encoder/groups/full/*/*/kernel/*") for name in adapters)
    for name, leaf in adapters.items():
        assert not np.array_equal(leaf, named_leaves(first.adapters)[name]), name


def test_validation_sees_the_average_with_adapters_merged(config, whole, first):
    """At step 0 the parameters themselves; at the end, what is saved for others to load."""
    workdir, state, validated = whole
    for name, leaf in named_leaves(validated[0]).items():
        np.testing.assert_array_equal(leaf, named_leaves(first.params)[name], err_msg=name)
    loaded = named_leaves(load_weights(workdir).params)
    for name, leaf in named_leaves(validated[STEPS]).items():
        np.testing.assert_allclose(loaded[name], leaf, rtol=1e-6, atol=1e-7, err_msg=name)
    averages = named_leaves(state.average)
    assert averages.keys() == {
        *named_leaves(state.adapters),
        *(name for name in named_leaves(state.params) if name.startswith("decoder/")),
    }
    bias = "decoder/predict/bias"
    np.testing.assert_array_equal(loaded[bias], averages[bias])
    model = load_model(workdir, MaeConfig, average=False).model
    np.testing.assert_array_equal(model.decoder.predict.bias[...], named_leaves(state.params)[bias])
    assert not np.array_equal(loaded[bias], named_leaves(state.params)[bias])
    assert set(read_shapes(workdir).shapes) == {
        *(f"params/{name}" for name in named_leaves(state.params)),
        *(f"buffers/{name}" for name in named_leaves(state.buffers)),
    }


def test_the_average_is_the_definition():
    """Of the parameters after each step; in the first steps it keeps less of itself."""
    values, average = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), {"kernel": jnp.zeros(3)}
    expected = np.zeros(3)
    for step, value in enumerate(values):
        average = moving_average(average, {"kernel": jnp.asarray(value)}, decay=0.7, step=jnp.int32(step))
        share = min(0.7, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * value
        np.testing.assert_allclose(average["kernel"], expected, rtol=1e-5, atol=1e-6)


def test_a_run_starts_with_the_merged_weights_and_their_average(config, whole, tmp_path):
    workdir = whole[0]
    later = dataclasses.replace(config, init_from=str(workdir), adapters=AdaptersConfig(), trainable=("**",))
    blueprint = make_blueprint(later, make_mesh(config.mesh, jax.devices()[:1]))
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    stream = later.stream()
    beginning = begin(later, blueprint, checkpoints=checkpoints, stream=stream, run=jax.random.key(0))
    stream.close()
    checkpoints.close()
    expected = named_leaves(load_weights(workdir).params)
    for tree in (beginning.state.params, beginning.state.average):
        assert named_leaves(tree).keys() == expected.keys()
        for name, leaf in named_leaves(tree).items():
            np.testing.assert_array_equal(leaf, expected[name], err_msg=name)
    assert "trained parameters are their moving average" in beginning.message


def test_averages_and_moments_are_split_like_what_they_are_of(config):
    shardings = make_blueprint(config, make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))).shardings
    part = overlay(select(shardings.params, [n for n in named_leaves(shardings.params) if n.startswith("decoder/")]),
                   shardings.adapters)  # fmt: skip
    assert shardings.average == part
    split = named_leaves(shardings.average)
    assert split["encoder/groups/full/mlp/up/kernel/down"].spec == PartitionSpec(None, ("fsdp",), None)
    assert split["encoder/groups/full/mlp/up/kernel/up"].spec == PartitionSpec(None, None, ("tensor",))
    moments = named_leaves(shardings.opt_state)
    for name, sharding in split.items():
        by_muon = any(matches(name, pattern) for pattern in MUON)
        for moment in ("mu",) if by_muon else ("mu", "nu"):
            assert [one for key, one in moments.items() if key.endswith(f"/{moment}/{name}")] == [sharding]


@pytest.mark.parametrize(
    "fields",
    [
        {"trainable": ("decoder/norm/*", *MUON)},
        {"adapters": AdaptersConfig()},
        {"ema": 0.0},
        {"optim": OptimConfig(muon=("decoder/groups/**/kernel",))},
    ],
    ids=lambda one: next(iter(one)),
)
def test_other_settings_do_not_resume_it(config, whole, fields):
    with pytest.raises(UserError, match="averages, adapters or kernels of optim"):
        run(dataclasses.replace(config, steps=9, **fields), whole[0])
    assert (whole[0] / "checkpoints" / str(STEPS)).exists()
    assert not (whole[0] / "corrupt").exists()


def test_adapters_alone_may_train(config):
    alone = dataclasses.replace(config, trainable=(), optim=OptimConfig())
    blueprint = make_blueprint(alone, make_mesh(config.mesh, jax.devices()[:1]))
    assert not blueprint.trainable
    assert (
        named_leaves(blueprint.trainable_part(blueprint.shapes)).keys()
        == named_leaves(blueprint.shapes.adapters).keys()
    )
    assert dataclasses.replace(config, trainable=("**",)).flops() is None
