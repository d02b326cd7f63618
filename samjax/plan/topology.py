"""Absent devices: a program can be compiled for them ahead of time, but not run."""

import contextlib
import importlib.util
import math
import os
import re
from dataclasses import dataclass
from typing import Any

import jax

from samjax.core.errors import UserError
from samjax.core.sizes import largest_divisor

_DIMENSIONS = {"v4": 3, "v5e": 2, "v5p": 3, "v6e": 2, "cpu": 1}
_EXAMPLES = {"v4": "v4:4x4x8", "v5e": "v5e:16x16", "v5p": "v5p:4x4x8", "v6e": "v6e:16x16", "cpu": "cpu:8"}

# The compiler is part of the TPU's runtime, which else asks the machine it runs on which TPU it has, and locks it.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # any: the topology is given by name
}


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Chips of one kind in a grid, such as `v5e:16x16`."""

    kind: str
    shape: tuple[int, ...]

    @property
    def chips(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    @property
    def platform(self) -> str:
        """What JAX calls its devices' platform: `cpu` or `tpu`."""
        return "cpu" if self.kind == "cpu" else "tpu"

    def __str__(self) -> str:
        return f"{self.kind}:{'x'.join(map(str, self.shape))}"


def parse_topology(text: str) -> Topology:
    """Read a topology's name.

    Raises:
      UserError: a kind that cannot be compiled for, or a shape that its chips do not form.
    """
    kind, _, shape = text.partition(":")
    if kind not in _DIMENSIONS:
        raise UserError(
            f"topology {text!r}: {kind!r} is not a kind of chip that can be compiled for; give one of "
            f"{', '.join(_EXAMPLES.values())} or another size of it"
        )
    sizes = shape.split("x")
    if len(sizes) != _DIMENSIONS[kind] or not all(re.fullmatch(r"[1-9]\d*", size) for size in sizes):
        dimensions = {1: "a number", 2: "two numbers", 3: "three numbers"}[_DIMENSIONS[kind]]
        raise UserError(f"topology {text!r}: the size of {kind} is {dimensions}, as in {_EXAMPLES[kind]}")
    return Topology(kind=kind, shape=tuple(map(int, sizes)))


def topology_devices(topology: Topology) -> list[Any]:
    """Return the devices of `topology`, one a chip, for `parallel.mesh.make_mesh`.

    TPUs need not be there. The process is held to the CPU for everything it runs itself, so call this before anything
    else of JAX; after it for TPUs, the process compiles without the persistent cache.

    Raises:
      UserError: the TPU's compiler is not installed or knows no such topology, or JAX has started with fewer CPU
        devices.
    """
    return _cpu_devices(topology.chips) if topology.kind == "cpu" else _tpu_devices(topology)


def roomier(topology: Topology) -> Topology | None:
    """Return as many chips with the most memory in the table, v5p, to see what a program that does not fit needs."""
    if topology.kind in ("cpu", "v5p") or topology.chips % 4:
        return None
    blocks = topology.chips // 4
    side = largest_divisor(blocks, math.isqrt(blocks))
    return Topology(kind="v5p", shape=(2 * side, 2 * (blocks // side), 1))


def _cpu_devices(count: int) -> list[Any]:
    with contextlib.suppress(RuntimeError):  # JAX has started, perhaps with enough of them
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise UserError(
            f"topology cpu:{count}: JAX has started in this process with {len(devices)} CPU devices; set "
            f"jax_num_cpu_devices to {count} before anything runs"
        )
    return list(devices[:count])


def _tpu_devices(topology: Topology) -> list[Any]:
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"topology {topology}: compiling for a TPU needs libtpu, which holds its compiler; "
            "pip install 'samjax[tpu]', no TPU is needed"
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_platforms", "cpu")
    options: dict[str, Any] = {}
    if topology.kind == "v4":
        options["chip_config_name"] = "megacore"  # a device is a chip, not one of its two cores
    if any(size % 2 for size in topology.shape[:2]):
        options["chips_per_host_bounds"] = (*(2 - size % 2 for size in topology.shape[:2]), 1)
    try:
        description = topologies.get_topology_desc(str(topology), "tpu", **options)
    except (jax.errors.JaxRuntimeError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"topology {topology}: libtpu has no such slice ({first}); try {_EXAMPLES[topology.kind]}"
        ) from None
    # Programs of chips that are not there can be written to the cache, but not read from it.
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    return list(description.devices)
