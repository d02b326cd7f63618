"""Training steps compiled by libtpu for TPUs that are not there. Run with the extra `tpu`: `pytest -m aot`."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from helpers.golden_plans import check_golden

from samjax.checkpoint.manager import state_shapes
from samjax.cli import plan as command
from samjax.core.errors import UserError
from samjax.core.experiment import load_experiment
from samjax.core.tree import named_leaves
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.mla import MlaConfig
from samjax.nn.structure import abstract_model
from samjax.parallel.chips import chip_of
from samjax.parallel.mesh import MeshConfig, Preset, make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.plan.largest import usable_memory
from samjax.plan.step_plan import make_plan
from samjax.plan.topology import parse_topology, topology_devices
from samjax.tasks.promptable import PromptableTraining
from samjax.tasks.semantic import SemanticTraining
from samjax.training.state import make_blueprint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config(micro_run) -> PromptableTraining:
    return dataclasses.replace(micro_run, mesh=MeshConfig(preset=Preset.FSDP), batch_size=4)


@pytest.fixture(scope="module")
def plan(config):
    return make_plan(config, parse_topology("v5e:2x2"))


@pytest.mark.parametrize("name", ["v4:2x2x1", "v5e:2x2", "v5e:1x1", "v5p:2x2x2", "v6e:1x2", "v5e:16x16", "v4:4x4x8"])
@pytest.mark.aot
def test_a_device_is_a_chip_of_the_table(name):
    topology = parse_topology(name)
    devices = topology_devices(topology)
    assert len(devices) == topology.chips
    chip = chip_of(devices[0].device_kind)
    assert chip is not None
    assert chip.name == topology.kind


@pytest.mark.aot
def test_what_a_chip_holds(config, plan):
    """The image encoder is split four ways, as far as it divides: every kernel, no bias. The others are whole."""
    assert plan.fits
    assert plan.chip.name == "v5e"
    parameters = {name: leaf.size * 4 for name, leaf in named_leaves(abstract_model(config.model.make)[1]).items()}
    encoder = sum(size for name, size in parameters.items() if name.startswith("image_encoder/"))
    whole = sum(parameters.values()) - encoder
    assert whole + encoder / 4 < plan.memory.parameters < whole + encoder / 2
    assert plan.memory.moments == pytest.approx(2 * plan.memory.parameters, rel=0.02)
    assert sum((plan.memory.parameters, plan.memory.moments, plan.memory.batch)) < plan.memory.peak < 2**30


@pytest.mark.aot
def test_what_a_chip_does(config, plan):
    least = config.flops() * config.batch_size / 4
    assert 1.0 < plan.work.flops / least < 4.0
    assert plan.work.unknown_loops == 0
    assert plan.work.bytes > 3 * plan.memory.parameters, "parameters and moments are read at least"
    assert {one.kind for one in plan.collectives} & {"all-gather", "reduce-scatter", "all-reduce"}
    assert all(one.chips in (2, 4) for one in plan.collectives)
    assert 0 < plan.speed.mfu < 1
    longest = max(term.seconds for term in plan.floor.terms)
    assert plan.speed_without_latency.step_seconds == longest
    assert plan.speed.step_seconds == longest + plan.work.instructions * 1e-6
    assert plan.work.asynchronous > 0, "a TPU copies to on-chip memory beside other work"


@pytest.mark.aot
def test_the_command_prints_and_writes(config, capsys, tmp_path):
    written = tmp_path / "plan.json"
    assert command.run(config, name="micro", topology="v5e:2x2", json=str(written)) == 0
    said = capsys.readouterr().out
    assert "micro on v5e:2x2" in said
    assert "Every figure is predicted" in said
    assert json.loads(written.read_text())["fits"] is True


@pytest.mark.aot
def test_a_dense_model_is_split_over_the_chips():
    """All of it, head too: SETR has no part that every chip holds whole."""
    published = DenseConfig.setr_mla(classes=2)
    model = dataclasses.replace(
        published,
        image_size=(64, 64),
        encoder=dataclasses.replace(published.encoder, width=256, depth=4, heads=4, taps=(0, 1, 2)),
        head=MlaConfig(width=64, level_width=32, auxiliary=True),
    )
    config = SemanticTraining(
        model=model,
        data=SegmentDataConfig(source="synthetic:photos=4,size=64", of_masks=True),
        mesh=MeshConfig(preset=Preset.FSDP),
        batch_size=4,
        steps=2,
    )
    plan = make_plan(config, parse_topology("v5e:2x2"))
    assert plan.fits
    whole = sum(leaf.size * 4 for leaf in named_leaves(abstract_model(model.make)[1]).values())
    assert whole / 4 <= plan.memory.parameters < whole * 0.26
    assert plan.memory.moments == pytest.approx(2 * plan.memory.parameters, rel=0.02)
    assert {one.kind for one in plan.collectives} & {"all-gather", "reduce-scatter", "all-reduce"}
    assert plan.work.flops > 0


@pytest.mark.aot_full
def test_too_many_photos_do_not_fit(config, capsys):
    """The compiler's refusal becomes a sentence with sizes, buffers and ways out."""
    many = dataclasses.replace(config, batch_size=4 * 20_000)
    with pytest.raises(UserError) as refused:
        command.run(many, name="micro", topology="v5e:2x2")
    said = str(refused.value)
    assert "micro does not fit on v5e:2x2, whose chips have 16.00 GiB and would need" in said
    assert re.search(r"largest buffers are \w+\[[\d,]+\] \(\d+\.\d\d GiB\)", said)
    assert "--batch-size" in said
    assert "compiled for v5p:2x2x1" in capsys.readouterr().out


@pytest.mark.aot
def test_the_micro_plan_is_the_golden_one(plan, request):
    check_golden("micro", plan, rewrite=request.config.getoption("--rewrite-plans"))


@pytest.mark.parametrize(("name", "gib"), [("v4:2x2x1", 30.75), ("v5e:1x1", 15.75), ("v6e:1x1", 31.24)])
@pytest.mark.aot
def test_a_chip_tells_how_much_of_its_memory_programs_may_use(name, gib):
    assert usable_memory(topology_devices(parse_topology(name))[0]) == pytest.approx(gib * 2**30, rel=1e-3)


# The regression gate: the figures of the published runs' whole steps. Each takes minutes to compile, so by hand:
# `pytest -n 0 -m aot_full tests/aot`, with --rewrite-plans after a change that is meant.
EXPERIMENTS = ("vit_b", "vit_l", "vit_h")
TOPOLOGIES = ("v5e:16x16", "v4:4x4x8", "v5p:4x4x8", "v6e:16x16")
PHOTOS, SHARE = 256, 0.70


@pytest.fixture(scope="module", params=[(name, chips) for name in EXPERIMENTS for chips in TOPOLOGIES], ids="-".join)
def published(request):
    """Name and plan of a published run: all masks and rounds at 1024 pixels, as `samjax train` runs them."""
    name, topology = request.param
    config = load_experiment(ROOT / "experiments" / "sam" / f"{name}.py", PromptableTraining)
    return name, make_plan(dataclasses.replace(config, batch_size=PHOTOS), parse_topology(topology))


@pytest.mark.aot_full
def test_published_runs_fit(published):
    _, plan = published
    assert plan.fits
    assert plan.memory_share <= SHARE


@pytest.mark.aot_full
def test_published_plans_are_the_golden_ones(published, request):
    check_golden(*published, rewrite=request.config.getoption("--rewrite-plans"))


@pytest.mark.aot_full
def test_the_encoder_of_vit_h_is_small():
    """Two photos a chip, at the worst moment: every block's input, and what one block needs in its backward pass."""
    config = load_experiment(ROOT / "experiments" / "sam" / "vit_h.py", PromptableTraining)
    mesh = make_mesh(config.mesh, topology_devices(parse_topology("v4:4x4x8")))
    assert config.batch_size == 2 * mesh.size
    blueprint = make_blueprint(config, mesh)

    def gradient(state, batch, key):
        def objective(params):
            embedding = blueprint.model(params, state.buffers).encode(batch.image, batch.valid_size, key=key)
            return jnp.mean(embedding**2)

        return jax.grad(objective)(state.params)

    with jax.set_mesh(mesh):
        lowered = jax.jit(gradient, out_shardings=blueprint.shardings.params).lower(
            state_shapes(blueprint.shapes, blueprint.shardings),
            config.abstract_batch(batch_sharding(mesh)),
            jax.eval_shape(lambda: jax.random.key(0)),
        )
    said = lowered.compile().memory_analysis()
    assert said is not None
    temporaries = said.peak_memory_in_bytes - said.argument_size_in_bytes - said.output_size_in_bytes
    assert 32 * 2 * 64 * 64 * 1280 * 2 < temporaries <= 2e9
