"""What is frozen stays as it is, has no moments, and costs nothing in the backward pass."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest
from helpers.micro import micro_mae

from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.data.photo_data import PhotoDataConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.plan.hlo import parse
from samjax.plan.hlo_cost import work
from samjax.plan.memory import state_bytes
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks.masked_images import MaskedImageTraining
from samjax.training.state import Blueprint, init_state, make_blueprint
from samjax.training.step import lower_train_step

DECODER = ("mask_decoder/**", "prompt_encoder/**")


class Compiled(NamedTuple):
    """A run's step on one device."""

    config: object
    blueprint: Blueprint
    step: jax.stages.Compiled
    flops: int
    temporaries: int


@pytest.fixture(scope="module")
def one_round(micro_run):
    """A run that compiles quickly: one prompt, one block in the decoder."""
    decoder = dataclasses.replace(micro_run.model.mask_decoder, depth=1)
    return dataclasses.replace(
        micro_run,
        model=dataclasses.replace(micro_run.model, mask_decoder=decoder),
        prompting=InteractionConfig(corrections=0, refinement=Refinement.LAST),
    )


@pytest.fixture(scope="module")
def compiled(one_round):
    """Takes patterns; returns the micro run's step that trains what they match."""

    @functools.cache
    def compiled(*patterns: str) -> Compiled:
        config = dataclasses.replace(one_round, trainable=patterns)
        mesh = make_mesh(config.mesh, jax.devices()[:1])
        blueprint = make_blueprint(config, mesh)
        step = lower_train_step(config, blueprint, mesh).compile()
        text, memory = step.as_text(), step.memory_analysis()
        assert text is not None
        assert memory is not None
        return Compiled(config, blueprint, step, work(parse(text)).flops, memory.temp_size_in_bytes)

    return compiled


@pytest.fixture(scope="module")
def encoder_flops(one_round):
    """FLOPs of the image encoder's forward pass, and of the forward and the backward pass."""
    mesh = make_mesh(one_round.mesh, jax.devices()[:1])
    blueprint, batch = make_blueprint(one_round, mesh), one_round.abstract_batch(batch_sharding(mesh))

    def encode(params, buffers, batch):
        return blueprint.model(params, buffers).encode(batch.image, batch.valid_size).sum()

    arguments = (blueprint.shapes.params, blueprint.shapes.buffers, batch)
    programs = [jax.jit(one).lower(*arguments).compile() for one in (encode, jax.value_and_grad(encode))]
    return [work(parse(program.as_text() or "")).flops for program in programs]


@pytest.mark.slow
def test_a_frozen_encoder_costs_its_forward_pass_alone(compiled, encoder_flops):
    whole, decoder = compiled("**"), compiled(*DECODER)
    forward, both = encoder_flops
    assert both > 2.5 * forward
    assert whole.flops - decoder.flops > 0.97 * (both - forward)
    assert decoder.temporaries < 0.8 * whole.temporaries


@pytest.mark.slow
def test_a_frozen_decoder_has_no_gradient_of_its_parameters(compiled, encoder_flops):
    """The gradient of the embedding still passes through it."""
    whole, encoder = compiled("**"), compiled("image_encoder/**")
    decoding = whole.flops - encoder_flops[1]
    assert whole.flops - encoder.flops > 0.15 * decoding


@pytest.mark.slow
def test_the_backward_pass_ends_at_the_first_trainable_layer(compiled, encoder_flops):
    forward, both = encoder_flops
    assert compiled("image_encoder/**").flops - compiled("image_encoder/neck/**").flops > 0.7 * (both - forward)


def test_moments_are_of_the_trainable_parameters_alone(one_round):
    mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
    configs = [dataclasses.replace(one_round, trainable=patterns) for patterns in (DECODER, ("**",))]
    frozen, whole = (make_blueprint(config, mesh) for config in configs)
    parts = {"mu": [], "nu": []}
    for name in named_leaves(frozen.shapes.opt_state):
        for moment, names in parts.items():
            if f"/{moment}/" in name:
                names.append(name.split(f"/{moment}/")[1])
    for names in parts.values():
        assert sorted(names) == sorted(frozen.trainable)
    assert all(name.split("/")[0] in ("mask_decoder", "prompt_encoder") for name in frozen.trainable)

    held, all_held = (state_bytes(*one, mesh) for one in zip(configs, (frozen, whole), strict=True))
    trained = sum(leaf.size for leaf in jax.tree.leaves(frozen.trainable_part(frozen.shapes)))
    assert held["moments"] == pytest.approx(2 * 4 * trained, abs=16)
    assert held["parameters"] == all_held["parameters"]


@pytest.mark.slow
def test_fifty_steps_leave_frozen_parameters_bit_for_bit(compiled):
    config, blueprint, step, *_ = compiled(*DECODER)
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    stream = config.stream(sharding=batch_sharding(mesh))
    batch = next(stream)
    stream.close()
    key = jax.random.key(0)
    with jax.set_mesh(mesh):
        state = init_state(blueprint, config, key)
        before = {name: np.asarray(leaf) for name, leaf in named_leaves((state.params, state.buffers)).items()}
        for _ in range(50):
            state, metrics = step(state, batch, key)
    assert np.isfinite(metrics["loss"])
    assert int(state.step) == 50
    for name, leaf in named_leaves((state.params, state.buffers)).items():
        moves = name.removeprefix("0/") in blueprint.trainable
        assert moves != np.array_equal(leaf, before[name]), name


def test_a_masked_autoencoders_frozen_encoder_costs_its_forward_pass_alone():
    model = micro_mae(visible=20)
    mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])

    def flops(*patterns: str) -> int:
        config = MaskedImageTraining(
            model=model, data=PhotoDataConfig(source="synthetic:photos=8,size=48"), batch_size=2, trainable=patterns
        )
        step = lower_train_step(config, make_blueprint(config, mesh), mesh).compile()
        return work(parse(step.as_text() or "")).flops

    assert flops("decoder/**") < 0.7 * flops("**")  # of three passes through the encoder's two blocks one remains


@pytest.mark.parametrize(
    ("patterns", "sentence"),
    [
        (
            ("mask_decoder/**", "decoder/**"),
            r"trainable: 'decoder/\*\*' matches no parameter; there are image_encoder/",
        ),
        (("mask_decoder",), r"for a whole folder give 'mask_decoder/\*\*'"),
        ((), "trainable is empty, so nothing would learn"),
    ],
)
def test_what_trains_nothing_is_refused(micro_run, patterns, sentence):
    with pytest.raises(UserError, match=sentence):
        make_blueprint(dataclasses.replace(micro_run, trainable=patterns), make_mesh(micro_run.mesh, jax.devices()[:1]))


def test_bad_pattern_on_the_command_line(capsys, tmp_path):
    run = ["train", "experiments/sam/smoke.py", "--batch-size", "8", "--workdir", str(tmp_path / "w"), "--dry-run"]
    assert main([*run, "--trainable", "mask_decoder/**", "neck/*"]) == 2
    assert "trainable: 'neck/*' matches no parameter" in capsys.readouterr().err


def test_no_utilisation_is_reported_of_a_part(micro_run):
    assert micro_run.flops() > 0
    assert dataclasses.replace(micro_run, trainable=DECODER).flops() is None
