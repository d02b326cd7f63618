"""A plan's figures against arithmetic; the step is compiled for eight CPU devices."""

import dataclasses
import io
import json
import re

import jax
import pytest
from rich.console import Console

from samjax.core.errors import UserError
from samjax.core.json_config import to_json
from samjax.nn.structure import abstract_model
from samjax.parallel.chips import chip_of
from samjax.parallel.mesh import MeshConfig
from samjax.plan import step_plan as plan_module
from samjax.plan.collectives import collectives
from samjax.plan.hlo import parse
from samjax.plan.hlo_cost import work
from samjax.plan.memory import CompiledStep, OutOfMemoryError, compile_step
from samjax.plan.plan_pair import Comparison, show_comparison
from samjax.plan.report import does_not_fit, readable_size, show
from samjax.plan.roofline import floor
from samjax.plan.step_plan import Plan, make_plan
from samjax.plan.topology import parse_topology, topology_devices
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.training.config import TrainConfig


@pytest.fixture(scope="module")
def config(micro_run):
    prompting = InteractionConfig(corrections=0, refinement=Refinement.LAST)
    return dataclasses.replace(micro_run, prompting=prompting, mesh=MeshConfig(data=1, fsdp=-1), batch_size=8)


@pytest.fixture(scope="module")
def step(config) -> CompiledStep:
    """The one compilation of this file, tens of seconds."""
    return compile_step(config, topology_devices(parse_topology("cpu:8")))


@pytest.fixture(scope="module")
def program(step):
    return parse(step.executable.as_text())


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch, config, step, program):
    def compiled(asked, devices):
        assert asked is config
        assert len(devices) == 8
        return step

    monkeypatch.setattr(plan_module, "compile_step", compiled)
    monkeypatch.setattr(plan_module, "parse", lambda _: program)


@pytest.fixture(scope="module")
def plan(config, step, program) -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "compile_step", lambda *_: step)
        patch.setattr(plan_module, "parse", lambda _: program)
        return make_plan(config, parse_topology("cpu:8"))


def test_memory_adds_up(config, plan):
    memory = plan.memory
    assert memory is not None
    assert memory.peak == memory.parameters + memory.moments + memory.batch + memory.temporaries
    parameters = sum(leaf.size * 4 for leaf in jax.tree.leaves(abstract_model(config.model.make)[1]))
    assert parameters / 8 < memory.parameters < parameters / 2, "split eight ways, but for what does not divide"
    assert memory.moments > memory.parameters
    assert memory.temporaries > 0


def test_the_program_does_the_models_work_and_some_again(config, plan):
    """Every round is decoded twice, and a photo's share of what is not split is done on every chip."""
    least = config.flops() * config.batch_size / plan.chips
    assert plan.work is not None
    assert 1.0 < plan.work.flops / least < 3.0
    assert plan.work.unknown_loops == 0


def test_parameters_are_gathered_and_gradients_reduced(plan):
    kinds = {one.kind for one in plan.collectives}
    assert "all-gather" in kinds
    assert kinds & {"all-reduce", "reduce-scatter"}
    assert all(one.chips in (2, 4, 8) for one in plan.collectives)


@pytest.mark.slow
@pytest.mark.long
def test_more_photos_exchange_no_more(config, program):
    """Parameters and gradients alone travel: no photo, mask or token of one device is another's business."""
    more = compile_step(dataclasses.replace(config, batch_size=2 * config.batch_size), jax.devices()[:8])
    of_more = collectives(parse(more.executable.as_text() or ""))
    assert of_more == collectives(program)


@pytest.mark.slow
@pytest.mark.long
def test_devices_that_share_photos_share_out_their_work(micro_run, config):
    """The masks of a photo lie apart on the `tensor` axis, which would do the whole decoder twice.

    What remains is the neck, and the photo's projections for all of its masks: the less of all, the more rounds.
    """

    def flops(mesh: MeshConfig) -> int:
        run = dataclasses.replace(config, prompting=micro_run.prompting, mesh=mesh)
        return work(parse(compile_step(run, jax.devices()[:8]).executable.as_text() or "")).flops

    assert flops(MeshConfig(data=1, fsdp=4, tensor=2)) < 1.15 * flops(config.mesh)


def test_cpus_have_no_floor(plan):
    assert plan.fits
    assert plan.chip is plan.floor is plan.speed is None


def test_json_holds_everything(plan):
    read = json.loads(to_json(plan))
    assert read["predicted"] is True
    assert read["memory"]["peak"] == plan.memory.peak
    assert read["work"]["flops"] == plan.work.flops
    assert [one["kind"] for one in read["collectives"]] == [one.kind for one in plan.collectives]


def test_the_floor_is_the_longest_term_and_latency():
    """An instruction's microsecond is over before it moves anything: nothing of it overlaps."""
    chip = chip_of("TPU v5e")
    assert chip is not None
    bottom = floor(chip, flops=197e12, memory_bytes=819e9 / 2, sent_bytes=3 * 200e9, instructions=250_000)
    assert [term.seconds for term in bottom.terms] == pytest.approx([1, 0.5, 3])
    assert bottom.latency.seconds == pytest.approx(0.25)
    assert bottom.seconds == pytest.approx(3.25)
    assert bottom.without_latency.seconds == pytest.approx(3)
    assert bottom.bound == bottom.without_latency.bound == "interconnect"
    assert bottom.without_overlap == pytest.approx(4.75)


def test_many_small_instructions_bound_a_step():
    chip = chip_of("TPU v5e")
    assert chip is not None
    bottom = floor(chip, flops=197e12, memory_bytes=0.0, sent_bytes=0.0, instructions=2_000_000)
    assert bottom.seconds == pytest.approx(3)
    assert bottom.bound == "latency"
    assert bottom.without_latency.bound == "compute"


def as_if(monkeypatch, **changes) -> None:
    """Let CPUs have the figures of a v5e."""
    chip = chip_of("TPU v5e")
    assert chip is not None
    monkeypatch.setattr(plan_module, "CHIPS", (dataclasses.replace(chip, name="cpu", **changes),))


def test_speed_at_the_floor(config, monkeypatch):
    as_if(monkeypatch)
    plan = make_plan(config, parse_topology("cpu:8"))
    assert plan.fits
    assert plan.memory_share == plan.memory.peak / (16 * 2**30)
    speed, seconds = plan.speed, plan.floor.seconds
    longest = max(term.seconds for term in plan.floor.terms)
    assert speed.step_seconds == seconds == longest + plan.work.instructions * 1e-6
    assert plan.floor.terms[2].amount == pytest.approx(sum(one.bytes_per_chip for one in plan.collectives))
    assert speed.mfu == pytest.approx(config.flops() * config.batch_size / seconds / (8 * 197e12))
    assert 0 < speed.mfu < 1
    assert speed.photos_per_second == pytest.approx(config.batch_size / seconds)
    assert speed.days * 86_400 == pytest.approx(config.steps * seconds)
    assert speed.chip_hours == pytest.approx(speed.days * 24 * 8)
    without = plan.speed_without_latency
    assert without.step_seconds == longest
    assert without.mfu * longest == pytest.approx(speed.mfu * seconds)
    said = printed(plan)
    assert re.search(rf"MFU +│ +{speed.mfu:.1%} +│ +{without.mfu:.1%}", said)
    assert re.search(rf"bound by +│ +{speed.bound} +│ +{without.bound}", said)
    assert f"{plan.work.instructions:,} instructions" in said
    assert "an assumption until measured on a chip" in said
    read = json.loads(to_json(plan))
    assert (read["speed"]["mfu"], read["speed_without_latency"]["mfu"]) == (speed.mfu, without.mfu)
    assert read["floor"]["latency"]["amount"] == plan.work.instructions == read["work"]["instructions"]


def test_the_plan_says_what_the_task_chose(config, step, monkeypatch):
    asked = []

    def choices(self, platform):
        asked.append(platform)
        return {"masks at once": "16"}

    monkeypatch.setattr(type(config), "choices", TrainConfig.choices)
    assert make_plan(config, parse_topology("cpu:8")).choices == {}, "by default a task chooses nothing"
    monkeypatch.setattr(type(config), "choices", choices)
    plan = make_plan(config, parse_topology("cpu:8"))
    assert asked == ["cpu"]
    assert parse_topology("v5e:16x16").platform == "tpu"
    assert re.search(r"masks at once +│ +16", printed(plan))
    assert json.loads(to_json(plan))["choices"] == {"masks at once": "16"}


def test_the_plan_names_what_executes_most(plan):
    said = printed(plan)
    assert f"{plan.work.instructions:,}" in said
    counts = [one.count for one in plan.most_instructions]
    assert counts == sorted(counts, reverse=True)
    assert f"{counts[0]:,}" in said


def test_what_does_not_fit_is_said_with_its_largest_buffers(config, monkeypatch):
    as_if(monkeypatch, memory=2**20)
    plan = make_plan(config, parse_topology("cpu:8"))
    assert not plan.fits
    said = does_not_fit(plan, name="micro")
    assert "micro does not fit on cpu:8, whose chips have 1.0 MiB" in said
    assert plan.largest_buffers[0].shape in said
    assert "--batch-size" in said
    sizes = [one.bytes for one in plan.largest_buffers]
    assert sizes == sorted(sizes, reverse=True)


def test_what_the_compiler_refuses_is_compiled_for_roomier_chips(config, step, monkeypatch):
    asked = []

    def devices(topology):
        asked.append(str(topology))
        return jax.devices()[: topology.chips]

    def compile_or_refuse(config, devices):
        if len(asked) == 1:
            raise OutOfMemoryError("RESOURCE_EXHAUSTED: ... temporaries (30.50G) exceeds available HBM (15.75G).")
        return step

    monkeypatch.setattr(plan_module, "topology_devices", devices)
    monkeypatch.setattr(plan_module, "compile_step", compile_or_refuse)
    plan = make_plan(config, parse_topology("v5e:2x4"))
    assert asked == ["v5e:2x4", "v5p:2x4x1"]
    assert not plan.fits
    assert plan.floor is plan.speed is plan.speed_without_latency is None
    assert plan.needed == 30.5 * 2**30
    assert plan.compiled_for == "v5p:2x4x1"
    said = does_not_fit(plan, name="micro")
    assert "16.00 GiB and would need 30.50 GiB" in said
    assert plan.largest_buffers[0].shape in said
    assert "compiled for v5p:2x4x1" in printed(plan)


def test_what_fits_nowhere_still_says_what_it_needs(config, monkeypatch):
    def refuse(config, devices):
        raise OutOfMemoryError("RESOURCE_EXHAUSTED: ... temporaries (300.00G) exceeds available HBM (15.75G).")

    monkeypatch.setattr(plan_module, "topology_devices", lambda topology: [])
    monkeypatch.setattr(plan_module, "compile_step", refuse)
    plan = make_plan(config, parse_topology("v5e:2x4"))
    assert not plan.fits
    assert plan.memory is None
    assert "would need 300.00 GiB" in does_not_fit(plan, name="micro")
    assert "The run" in printed(plan)


def test_a_batch_that_the_mesh_cannot_split_is_refused(config):
    with pytest.raises(UserError, match="batch_size is 6"):
        compile_step(dataclasses.replace(config, batch_size=6), jax.devices()[:8])


def printed(plan: Plan) -> str:
    console = Console(width=250, record=True, file=io.StringIO())
    show(plan, name="micro", console=console)
    return console.export_text()


def test_the_report_says_that_it_predicts(plan):
    said = printed(plan)
    assert "micro on cpu:8" in said
    assert "Every figure is predicted" in said
    assert f"{plan.memory.peak:,}" in said
    assert "no peaks are published" in said


def test_two_plans_are_compared_side_by_side(config, step, monkeypatch):
    as_if(monkeypatch)
    plan = dataclasses.replace(make_plan(config, parse_topology("cpu:8")), choices={"masks at once": "16"})
    assert plan.work is not None
    half = dataclasses.replace(plan.work, instructions=plan.work.instructions // 2)
    latency = dataclasses.replace(plan.floor.latency, seconds=plan.floor.latency.seconds / 2)
    floor = dataclasses.replace(plan.floor, latency=latency)
    changed = dataclasses.replace(plan, work=half, floor=floor, choices={"masks at once": "4"}, compile_seconds=123.0)
    comparison = Comparison(changes=("masks-at-once=4",), plan=plan, other=changed)
    console = Console(width=200, record=True, file=io.StringIO())
    show_comparison(comparison, name="micro", console=console)
    said = console.export_text()

    def row(*cells: str) -> bool:
        return re.search(" +[│┃] +".join(map(re.escape, cells)), said) is not None

    assert row("micro", "masks-at-once=4", "change")
    assert row("instructions, one after another", f"{plan.work.instructions:,}", f"{half.instructions:,}", "x 0.5")
    assert row("peak memory", readable_size(plan.memory.peak), readable_size(plan.memory.peak))
    assert row("latency", f"{1e3 * plan.floor.latency.seconds:.2f} ms", f"{1e3 * latency.seconds:.2f} ms", "x 0.5")
    for term in plan.floor.terms:
        assert row(term.name, *2 * [f"{1e3 * term.seconds:.2f} ms"])
    assert row("MFU at the floor", f"{plan.speed.mfu:.1%}")
    assert row("MFU without latency", f"{plan.speed_without_latency.mfu:.1%}")
    assert row("masks at once", "16", "4")
    assert re.search(r"compile time +│ +\d+ s +│ +123 s", said)
    read = json.loads(to_json(comparison))
    assert read["changes"] == ["masks-at-once=4"]
    assert (read["plan"]["work"], read["other"]["work"]) == (dataclasses.asdict(plan.work), dataclasses.asdict(half))
