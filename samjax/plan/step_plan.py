"""What a run will need and how fast it can be at best, before any hardware is rented. Every figure is predicted."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import jax

from samjax.parallel.chips import CHIPS, Chip
from samjax.plan.collectives import Collective, Exchange, collectives, exchanges
from samjax.plan.hlo import parse
from samjax.plan.hlo_cost import Buffer, Traffic, Work, largest_buffers, largest_traffic, work
from samjax.plan.instructions import Repetition, most_instructions
from samjax.plan.memory import CompiledStep, Memory, OutOfMemoryError, compile_step
from samjax.plan.roofline import Floor, floor
from samjax.plan.topology import Topology, roomier, topology_devices
from samjax.training.config import TrainConfig

_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Speed at a floor. No run is this fast: good code reaches half to two thirds of it."""

    step_seconds: float
    bound: str
    """What takes most of it: compute, memory, interconnect or latency."""
    mfu: float | None
    """Model FLOPs utilisation: the minimum FLOPs of the step, not those it spends, over the chips' peak.
    None if the task does not report FLOPs."""
    photos_per_second: float
    days: float
    chip_hours: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training step compiled for a topology. Bytes and FLOPs are of one chip unless they say otherwise."""

    predicted: bool = True
    topology: str
    chips: int
    chip: Chip | None
    """None for CPUs, which have no published figures: no floor, and no memory limit."""
    mesh: dict[str, int]
    batch_size: int
    steps: int
    fits: bool
    memory: Memory | None
    """None if the step does not fit and could not be compiled for chips with more memory either."""
    needed: int | None
    """Bytes per chip according to the compiler, if the step does not fit."""
    compiled_for: str
    """The topology that memory, work and collectives belong to; a different one if the step does not fit."""
    compile_seconds: float | None
    largest_buffers: list[Buffer]
    collectives: list[Collective]
    largest_exchanges: list[Exchange]
    largest_traffic: list[Traffic]
    most_instructions: list[Repetition]
    model_flops_per_photo: int | None
    work: Work | None
    floor: Floor | None
    speed: Speed | None
    """At the floor."""
    speed_without_latency: Speed | None
    """At `floor.without_latency`: as if instructions took no time but for their work."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """What the task decided for this kind of hardware; see `TrainConfig.choices`."""
    largest_batch: int | None = None
    """The largest batch that fits, in photos; None if not requested."""
    jax_version: str = jax.__version__

    @property
    def memory_share(self) -> float | None:
        """The peak as a share of the chip's memory."""
        return None if self.chip is None or self.memory is None else self.memory.peak / self.chip.memory


def make_plan(config: TrainConfig, topology: Topology) -> Plan:
    """Compile the step of `config` for `topology` and measure what it needs.

    If it does not fit, compile it again for as many v5p chips, to name the large buffers.

    Raises:
      UserError: the topology does not exist, or mesh or batch do not fit it.
    """
    devices = topology_devices(topology)
    chip = next((chip for chip in CHIPS if chip.name == topology.kind), None)
    try:
        return _plan(config, topology, chip, compile_step(config, devices), read_from=topology)
    except OutOfMemoryError as error:
        needed = error.needed
    other = roomier(topology)
    try:
        step = compile_step(config, topology_devices(other)) if other is not None else None
    except OutOfMemoryError:
        step = None
    plan = _plan(config, topology, chip, step, read_from=other if step is not None else None)
    return dataclasses.replace(plan, fits=False, needed=needed, floor=None, speed=None, speed_without_latency=None)


def _plan(
    config: TrainConfig, topology: Topology, chip: Chip | None, step: CompiledStep | None, *, read_from: Topology | None
) -> Plan:
    program = parse(step.executable.as_text() or "") if step is not None else None
    least = config.flops()
    done = work(program) if program is not None else None
    exchanged = collectives(program) if program is not None else []
    bottom = _floor(config, topology, chip, done, exchanged, least) if chip is not None and done is not None else None

    def speed(bottom: Floor | None) -> Speed | None:
        return _speed(config, topology, chip, bottom, least) if chip is not None and bottom is not None else None

    return Plan(
        topology=str(topology),
        chips=topology.chips,
        chip=chip,
        mesh=dict(step.mesh.shape) if step is not None else {},
        batch_size=config.batch_size,
        steps=config.steps,
        fits=step is not None and (chip is None or step.memory.peak <= chip.memory),
        memory=step.memory if step is not None else None,
        needed=None,
        compiled_for=str(read_from) if read_from is not None else "",
        compile_seconds=step.seconds if step is not None else None,
        largest_buffers=largest_buffers(program, _NAMED) if program is not None else [],
        collectives=exchanged,
        largest_exchanges=exchanges(program)[:_NAMED] if program is not None else [],
        largest_traffic=largest_traffic(program, _NAMED) if program is not None else [],
        most_instructions=most_instructions(program, _NAMED) if program is not None else [],
        model_flops_per_photo=least,
        work=done,
        floor=bottom,
        speed=speed(bottom),
        speed_without_latency=speed(bottom.without_latency) if bottom is not None else None,
        choices=dict(config.choices(topology.platform)),
    )


def _floor(
    config: TrainConfig, topology: Topology, chip: Chip, done: Work, exchanged: list[Collective], least: int | None
) -> Floor:
    # Kernels written by hand may not say what they compute; the step cannot take less than its model FLOPs.
    flops = max(float(done.flops), (least or 0) * config.batch_size / topology.chips)
    return floor(
        chip,
        flops=flops,
        memory_bytes=float(done.bytes),
        sent_bytes=sum((one.bytes_per_chip for one in exchanged), 0.0),
        instructions=done.instructions,
    )


def _speed(config: TrainConfig, topology: Topology, chip: Chip, bottom: Floor, least: int | None) -> Speed:
    seconds = bottom.seconds
    return Speed(
        step_seconds=seconds,
        bound=bottom.bound,
        mfu=None if least is None else least * config.batch_size / (topology.chips * chip.flops * seconds),
        photos_per_second=config.batch_size / seconds,
        days=config.steps * seconds / 86_400,
        chip_hours=config.steps * seconds * topology.chips / 3_600,
    )
