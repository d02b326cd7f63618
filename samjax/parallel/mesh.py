"""The device mesh of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from samjax.core.errors import UserError

AXES = ("data", "fsdp", "tensor")


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Devices along each mesh axis. `data` and `fsdp` split the batch, `fsdp` and `tensor` the parameters.

    One axis may be -1: whatever devices are left.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


def make_mesh(
    config: MeshConfig,
    devices: Sequence[jax.Device] | None = None,  # type: ignore[reportInvalidTypeForm]  # jax assigns the class a name
) -> Mesh:
    """Return the mesh of `config` over `devices` (all of them by default).

    Axes are `AxisType.Auto`: under JAX's default, Explicit, a window partition does not compile.

    Raises:
      UserError: the axes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [config.data, config.fsdp, config.tensor]
    wanted = dict(zip(AXES, sizes, strict=True))
    if any(size == 0 or size < -1 for size in sizes) or sizes.count(-1) > 1:
        raise UserError(f"mesh {wanted}: each axis needs a positive size, one of them may be -1")
    if -1 in sizes:
        others = -int(np.prod(sizes))
        sizes[sizes.index(-1)] = max(1, len(devices) // others)
    if int(np.prod(sizes)) != len(devices):
        raise UserError(f"mesh {wanted} does not cover {len(devices)} devices; set one axis of --mesh to -1")
    return jax.make_mesh(tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)
