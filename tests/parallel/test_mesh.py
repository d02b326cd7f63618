"""Meshes over the devices there are, and rules from axis names to them."""

import jax
import pytest
from jax.sharding import PartitionSpec

from samjax.core.errors import UserError
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.rules import partition_spec


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1, 1)),
        (MeshConfig(data=1, fsdp=-1), (1, 8, 1)),
        (MeshConfig(data=2, fsdp=2, tensor=2), (2, 2, 2)),
        (MeshConfig(data=-1, tensor=4), (2, 1, 4)),
    ],
)
def test_one_axis_takes_the_devices_left(config, shape):
    assert tuple(make_mesh(config).shape.values()) == shape


@pytest.mark.parametrize(
    "config", [MeshConfig(data=3), MeshConfig(data=-1, fsdp=-1), MeshConfig(data=0), MeshConfig(data=-1, fsdp=16)]
)
def test_a_mesh_that_does_not_cover_the_devices_is_refused(config):
    with pytest.raises(UserError, match="mesh"):
        make_mesh(config)


def test_rules_split_what_divides_and_leave_the_rest_whole():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    assert partition_spec(("embed", "mlp"), (64, 32), mesh) == PartitionSpec(("fsdp",), ("tensor",))
    assert partition_spec(("embed", "mlp"), (63, 32), mesh) == PartitionSpec(None, ("tensor",))
    assert partition_spec(("batch", None), (8, 3), mesh) == PartitionSpec(("data", "fsdp"), None)
    with pytest.raises(KeyError):
        partition_spec(("nonsense",), (8,), mesh)


def test_a_mesh_of_fewer_devices_can_be_named():
    assert make_mesh(MeshConfig(), jax.devices()[:2]).size == 2
