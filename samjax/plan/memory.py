"""The training step compiled for absent devices: whether it fits, and what fills their memory."""

import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from samjax.parallel.mesh import make_mesh
from samjax.parallel.sharding import batch_sharding, check_batch
from samjax.train.config import TrainConfig
from samjax.train.state import Blueprint, make_blueprint
from samjax.train.step import lower_train_step

_MOST = 4096
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class OutOfMemoryError(Exception):
    """The compiler found that the step does not fit; `needed` is in bytes per chip, None if it did not say."""

    def __init__(self, message: str):
        super().__init__(message)
        sizes = re.findall(r"(\d+(?:\.\d+)?)([KMGT]?)i?B? ?(?:\)|of)", message)
        self.needed = int(float(sizes[0][0]) * _UNITS[sizes[0][1]]) if sizes else None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one chip's memory during a step."""

    parameters: int
    moments: int
    """Of the optimiser, and its counters."""
    batch: int
    temporaries: int
    """Everything else at the peak: activations, gradients, results before they replace the old state, and padding in
    any of these."""
    peak: int
    """Peak memory, as laid out by the compiler."""


@dataclass(frozen=True, kw_only=True)
class CompiledStep:
    """The training step of a run, compiled."""

    mesh: Mesh
    blueprint: Blueprint
    executable: jax.stages.Compiled
    memory: Memory
    seconds: float
    """Taken to compile it."""


def compile_step(config: TrainConfig, devices: Sequence[Any]) -> CompiledStep:
    """Compile the step that `samjax train` runs for `devices`.

    Raises:
      UserError: the mesh does not cover the devices, or does not split the batch.
      OutOfMemoryError: the step does not fit.
    """
    mesh = make_mesh(config.mesh, devices)
    check_batch("batch_size", config.batch_size, mesh)
    blueprint = make_blueprint(config, mesh)
    began = time.monotonic()
    lowered = lower_train_step(config, blueprint, mesh)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise OutOfMemoryError(str(error)) from None
        raise
    return CompiledStep(
        mesh=mesh,
        blueprint=blueprint,
        executable=compiled,
        memory=_memory(compiled, state_bytes(config, blueprint, mesh), platform=devices[0].platform),
        seconds=time.monotonic() - began,
    )


def state_bytes(config: TrainConfig, blueprint: Blueprint, mesh: Mesh) -> dict[str, int]:
    """Return the bytes per chip of parameters (and buffers), moments and batch, from their shardings."""
    shapes, shardings = blueprint.shapes, blueprint.shardings
    batch = config.abstract_batch(batch_sharding(mesh))
    return {
        "parameters": _held((shapes.params, shapes.buffers), (shardings.params, shardings.buffers)),
        "moments": _held(shapes.opt_state, shardings.opt_state),
        "batch": _held(batch, jax.tree.map(lambda leaf: leaf.sharding, batch)),
    }


def _held(shapes: Any, shardings: Any) -> int:
    sizes = jax.tree.map(
        lambda shape, sharding: int(np.prod(sharding.shard_shape(shape.shape))) * shape.dtype.itemsize,
        shapes,
        shardings,
    )
    return sum(jax.tree.leaves(sizes))


def _memory(compiled: jax.stages.Compiled, held: dict[str, int], *, platform: str) -> Memory:
    said = compiled.memory_analysis()
    assert said is not None, "every platform that can be planned for says what it allocates"
    if platform == "tpu":
        # Arguments and results included. The sum of sizes below overstates it: temporaries that are never needed
        # together have been seen to add up to more than the memory of a TPU that the step fitted.
        peak = said.peak_memory_in_bytes
    else:
        peak = said.argument_size_in_bytes + said.output_size_in_bytes - said.alias_size_in_bytes
        peak += said.temp_size_in_bytes
    return Memory(**held, temporaries=max(0, peak - sum(held.values())), peak=peak)


def largest_batch(
    config: TrainConfig, devices: Sequence[Any], *, watch: Callable[[int, Memory | None], None] = lambda *_: None
) -> int:
    """Return the largest batch, in photos, that fits on `devices`, 0 if none does; every probe compiles the step.

    Doubles until the step does not fit, then bisects over photos per share of the batch. `watch` gets each probe's
    photos per step and its memory, None if it did not fit.
    """
    mesh = make_mesh(config.mesh, devices)
    ways = mesh.shape["data"] * mesh.shape["fsdp"]

    def fits(photos: int) -> bool:
        try:
            memory = compile_step(dataclasses.replace(config, batch_size=photos * ways), devices).memory
        except OutOfMemoryError:
            memory = None
        watch(photos * ways, memory)
        return memory is not None

    return ways * largest(fits, start=max(1, config.batch_size // ways))


def largest(fits: Callable[[int], bool], *, start: int) -> int:
    """Return the largest number that `fits`, a test that holds up to some number alone; 0 if 1 does not.

    Looks no further than a few thousand.
    """
    low, high = 0, start
    while high <= _MOST and fits(high):
        low, high = high, 2 * high
    if high > _MOST:
        return low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
