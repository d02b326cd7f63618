"""Meshes over the devices there are, and rules from axis names to them."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from samjax.core.errors import UserError
from samjax.parallel.mesh import MeshConfig, Preset, device_grid, make_mesh
from samjax.parallel.rules import partition_spec


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1, 1)),
        (MeshConfig(preset=Preset.FSDP), (1, 8, 1)),
        (MeshConfig(preset=Preset.FSDP_TENSOR), (1, 2, 4)),
        (MeshConfig(preset=Preset.FSDP_TENSOR, tensor=2), (1, 4, 2)),
        (MeshConfig(preset=Preset.FSDP, data=2), (2, 4, 1)),
        (MeshConfig(data=1, fsdp=-1), (1, 8, 1)),
        (MeshConfig(preset=Preset.FSDP, data=-1, fsdp=1), (8, 1, 1)),
        (MeshConfig(data=2, fsdp=2, tensor=2), (2, 2, 2)),
        (MeshConfig(data=-1, tensor=4), (2, 1, 4)),
    ],
)
def test_what_is_given_goes_before_the_preset_and_one_axis_takes_the_devices_left(config, shape):
    mesh = make_mesh(config)
    assert tuple(mesh.shape.values()) == shape
    assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize(
    ("config", "devices", "sizes"),
    [
        (MeshConfig(preset=Preset.FSDP), 256, (16, 16, 1)),
        (MeshConfig(preset=Preset.FSDP), 24, (2, 12, 1)),
        (MeshConfig(preset=Preset.FSDP, dcn_data=2), 1024, (64, 16, 1)),
        (MeshConfig(preset=Preset.FSDP, data=1), 1024, (1, 1024, 1)),
        (MeshConfig(preset=Preset.FSDP, fsdp=512), 1024, (2, 512, 1)),
        (MeshConfig(preset=Preset.FSDP_TENSOR), 8, (1, 2, 4)),
        (MeshConfig(preset=Preset.FSDP_TENSOR), 1024, (16, 16, 4)),
        (MeshConfig(preset=Preset.FSDP_TENSOR, tensor=2), 1024, (32, 16, 2)),
    ],
)
def test_presets_split_parameters_into_whole_tiles(config, devices, sizes):
    assert config.sizes(devices) == sizes


@pytest.mark.parametrize(
    "config",
    [
        MeshConfig(data=3),
        MeshConfig(data=-1, fsdp=-1),
        MeshConfig(data=-1, fsdp=16),
        MeshConfig(preset=Preset.FSDP_TENSOR, tensor=3),
        MeshConfig(preset=Preset.FSDP, data=-1),
        MeshConfig(dcn_data=3),
        MeshConfig(data=1, fsdp=-1, dcn_data=2),
        MeshConfig(dcn_data=2),  # the eight devices are of one host
    ],
)
def test_a_mesh_that_does_not_cover_the_devices_is_refused(config):
    with pytest.raises(UserError, match="mesh"):
        make_mesh(config)


@dataclasses.dataclass(frozen=True)
class FakeDevice:
    """What a grid looks at of a device."""

    id: int
    process_index: int
    device_kind: str = "fake"
    platform: str = "fake"


@dataclasses.dataclass(frozen=True)
class FakeSliceDevice(FakeDevice):
    slice_index: int = 0


HOSTS = [FakeDevice(id=index, process_index=index % 2) for index in range(8)]
SLICES = [FakeSliceDevice(id=index, process_index=index // 2, slice_index=index % 2) for index in range(8)]


@pytest.mark.parametrize(("devices", "group"), [(HOSTS, "process_index"), (SLICES, "slice_index")])
@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(dcn_data=2), (8, 1, 1)),
        (MeshConfig(preset=Preset.FSDP, dcn_data=2), (2, 4, 1)),
        (MeshConfig(preset=Preset.FSDP_TENSOR, tensor=2, dcn_data=2), (2, 2, 2)),
        (MeshConfig(data=4, fsdp=2, dcn_data=2), (4, 2, 1)),
    ],
)
def test_only_data_crosses_the_data_centre_network(devices, group, config, shape):
    """The first half of `data` is one slice or host, the second the other, whatever order the devices come in."""
    grid = device_grid(config, devices)
    assert grid.shape == shape
    assert {device.id for device in grid.flat} == set(range(8))
    for half, expected in zip(np.split(grid, 2), (0, 1), strict=True):
        assert {getattr(device, group) for device in half.flat} == {expected}


@pytest.mark.parametrize(("devices", "dcn_data", "way_out"), [(SLICES, 1, "2"), (SLICES, 4, "2"), (HOSTS, 4, "2")])
def test_groups_that_are_not_there_are_refused_with_the_number_that_is(devices, dcn_data, way_out):
    with pytest.raises(UserError, match=f"--mesh.dcn-data {way_out}"):
        device_grid(MeshConfig(dcn_data=dcn_data), devices)


def test_rules_split_what_divides_and_leave_the_rest_whole():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    assert partition_spec(("embed", "mlp"), (64, 32), mesh) == PartitionSpec(("fsdp",), ("tensor",))
    assert partition_spec(("embed", "mlp"), (63, 32), mesh) == PartitionSpec(None, ("tensor",))
    assert partition_spec(("batch", None), (8, 3), mesh) == PartitionSpec(("data", "fsdp"), None)
    with pytest.raises(KeyError):
        partition_spec(("nonsense",), (8,), mesh)


def test_a_mesh_of_fewer_devices_can_be_named():
    assert make_mesh(MeshConfig(), jax.devices()[:2]).size == 2
