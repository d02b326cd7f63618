"""The training step compiled for absent devices: whether it fits, and what fills their memory."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from samjax.parallel.mesh import make_mesh
from samjax.parallel.sharding import batch_sharding, check_batch
from samjax.training.config import TrainConfig
from samjax.training.state import Blueprint, TrainState, make_blueprint
from samjax.training.step import lower_train_step

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class OutOfMemoryError(Exception):
    """The compiler found that the step does not fit.

    `needed` and `available` are in bytes per chip, None if it did not say.
    """

    def __init__(self, message: str):
        super().__init__(message)
        sizes = re.findall(r"(\d+(?:\.\d+)?)([KMGT]?)i?B? ?(?:\)|of)", message)
        found = [int(float(number) * _UNITS[unit]) for number, unit in sizes]
        self.needed = found[0] if found else None
        left = re.search(r"(?:available HBM \(|of )(\d+(?:\.\d+)?)([KMGT]?)i?B?\b", message)
        self.available = int(float(left.group(1)) * _UNITS[left.group(2)]) if left else None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one chip's memory during a step."""

    parameters: int
    """With buffers, adapters and the moving average."""
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


def check_step(config: TrainConfig, devices: Sequence[Any]) -> Mesh:
    """Return the mesh of a run over `devices`, without compiling anything.

    Raises:
      UserError: the mesh does not cover the devices, or does not split the batch.
    """
    mesh = make_mesh(config.mesh, devices)
    check_batch("batch_size", config.batch_size, mesh)
    return mesh


def compile_step(config: TrainConfig, devices: Sequence[Any]) -> CompiledStep:
    """Compile the step that `samjax train` runs for `devices`.

    Raises:
      UserError: the mesh does not cover the devices, or does not split the batch.
      OutOfMemoryError: the step does not fit.
    """
    mesh = check_step(config, devices)
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
    """Return the bytes per chip of parameters (with buffers, adapters and their average), moments and batch."""
    shapes, shardings = blueprint.shapes, blueprint.shardings

    def of_weights(state: TrainState) -> tuple[Any, ...]:
        return state.params, state.buffers, state.adapters, state.average

    batch = config.abstract_batch(batch_sharding(mesh))
    return {
        "parameters": _held(of_weights(shapes), of_weights(shardings)),
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
