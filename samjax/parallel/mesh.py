"""The device mesh of a run."""

import enum
import math
from collections.abc import Sequence
from typing import Annotated

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from samjax.core.errors import UserError
from samjax.core.ranges import Count, Range, config_class
from samjax.core.sizes import largest_divisor

AXES = ("data", "fsdp", "tensor")
MOST_SPLIT = 16
"""Devices that a preset splits parameters over at most. ViT-H's state is 0.5 GB on each of these. The widths of
published models, 768, 1,024 and 1,280, in as many parts are whole tiles of 16 rows. Parts of tiles are not gathered: a
TPU's compiler all-reduces them, zeros and all, at twice the traffic."""


class Preset(enum.Enum):
    """How a run is split over devices. The step computed is the same."""

    REPLICATED = "replicated"
    """Each device holds all parameters and a part of the batch."""
    FSDP = "fsdp"
    """The batch is split over all devices; parameters and moments over those of a slice, or over `MOST_SPLIT` of them
    where a slice has more, and the others hold copies."""
    FSDP_TENSOR = "fsdp_tensor"
    """As FSDP, and four neighbours share their photos and split heads and MLPs: for fewer photos than devices."""


_Axis = Annotated[int, Range(at_least=1, also=(-1,), why="it counts devices, and -1 takes whatever is left")]


@config_class("mesh")
class MeshConfig:
    """Devices along each mesh axis. `data` and `fsdp` split the batch, `fsdp` and `tensor` the parameters.

    A size that is None is the preset's. One size may be -1: whatever devices are left.
    """

    preset: Preset = Preset.REPLICATED
    """How parameters are split: not at all, over up to 16 devices, or also heads and MLPs over four neighbours."""
    data: _Axis | None = None
    """Devices along the axis that splits the batch alone; None is the preset's, -1 what is left."""
    fsdp: _Axis | None = None
    """Devices along the axis that splits batch and parameters; None is the preset's, -1 what is left."""
    tensor: _Axis | None = None
    """Devices along the axis that splits heads and MLPs; None is the preset's, -1 what is left."""
    dcn_data: Count = 1
    """Groups of devices that `data` spans over the data-centre network: TPU slices, or hosts where there are none.
    `data` counts the devices of all groups; `fsdp` and `tensor` stay within one."""

    def sizes(self, devices: int) -> tuple[int, int, int]:
        """Return how many of `devices` lie along `data`, `fsdp` and `tensor`.

        Raises:
          UserError: the sizes do not multiply to `devices`, or `data` is not a multiple of `dcn_data`.
        """
        match self.preset:
            case Preset.REPLICATED:
                preset = (-1, 1, 1)
            case Preset.FSDP:
                preset = (*self._copies(devices // max(1, self.tensor or 1)), 1)
            case Preset.FSDP_TENSOR:
                preset = (*self._copies(devices // max(1, self.tensor or 4)), 4)
        given = (self.data, self.fsdp, self.tensor)
        sizes = [usual if size is None else size for usual, size in zip(preset, given, strict=True)]
        wanted = dict(zip(AXES, sizes, strict=True))
        if sizes.count(-1) > 1:
            raise UserError(f"mesh {wanted}: one axis alone may be -1")
        if -1 in sizes:
            sizes[sizes.index(-1)] = max(1, devices // -math.prod(sizes))
        if math.prod(sizes) != devices:
            raise UserError(f"mesh {wanted} does not cover {devices} devices; set one axis of --mesh to -1")
        data, fsdp, tensor = sizes
        if data % self.dcn_data:
            raise UserError(
                f"mesh.dcn_data is {self.dcn_data}, but data, of {data} devices, must be a positive multiple of it: "
                "set --mesh.data or --mesh.dcn-data"
            )
        return data, fsdp, tensor

    def _copies(self, devices: int) -> tuple[int, int]:
        """Return the preset's `data` and `fsdp` over `devices`: as few copies of the parameters as there may be."""
        of_a_slice = devices // max(1, self.dcn_data)
        if of_a_slice <= MOST_SPLIT or self.data is not None:
            return self.dcn_data, -1
        return -1, largest_divisor(of_a_slice, MOST_SPLIT)


def make_mesh(
    config: MeshConfig,
    devices: Sequence[jax.Device] | None = None,  # type: ignore[reportInvalidTypeForm]  # jax assigns the class a name
) -> Mesh:
    """Return the mesh of `config` over `devices` (all of them by default).

    Axes are `AxisType.Auto`: under JAX's default, Explicit, a window partition does not compile.

    Raises:
      UserError: the axes do not multiply to the number of devices, or the devices are not `dcn_data` groups.
    """
    devices = jax.devices() if devices is None else devices
    return Mesh(device_grid(config, devices), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def device_grid(config: MeshConfig, devices: Sequence) -> np.ndarray:
    """Return `devices` as an array (data, fsdp, tensor), neighbours in the network along the last axes.

    Raises:
      UserError: as `make_mesh`.
    """
    data, fsdp, tensor = config.sizes(len(devices))
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    hosts = len({device.process_index for device in devices})
    if config.dcn_data == 1 and slices == 1:
        # Splitting a physical axis is the last resort of the search: v6e's 16 x 16 as 64 x 4 needs it.
        return mesh_utils.create_device_mesh((data, fsdp, tensor), devices, allow_split_physical_axes=True)
    if config.dcn_data not in ((slices,) if slices > 1 else (hosts,)):
        raise UserError(
            f"mesh.dcn_data is {config.dcn_data}, but the {len(devices)} devices are of "
            f"{f'{slices} slices' if slices > 1 else f'{hosts} host(s)'}: "
            f"give --mesh.dcn-data {slices if slices > 1 else f'{hosts}, or 1'}"
        )
    return mesh_utils.create_hybrid_device_mesh(
        (data // config.dcn_data, fsdp, tensor),
        (config.dcn_data, 1, 1),
        devices,
        process_is_granule=slices == 1,
        allow_split_physical_axes=True,
    )
