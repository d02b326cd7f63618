"""Logical axis names, and the mesh axes they are split over."""

import math

from jax.sharding import AbstractMesh, Mesh, PartitionSpec

RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "mask": ("tensor",),
    "device": ("data", "fsdp", "tensor"),
    "embed": ("fsdp",),
    "mlp": ("tensor",),
    "heads": ("tensor",),
}


def partition_spec(axes: tuple[str | None, ...], shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """Return how an array of `shape` with logical `axes` is split over `mesh`.

    A dimension that does not divide evenly is left whole: a bias or a norm is small, and a rule need not know.

    Raises:
      KeyError: an axis name that RULES does not have.
      ValueError: axes and shape of different lengths.
    """
    if len(axes) != len(shape):
        raise ValueError(f"axes {axes} do not fit shape {shape}")
    split = [_mesh_axes(axis, mesh) for axis in axes]
    parts = [math.prod(mesh.shape[name] for name in names) for names in split]
    return PartitionSpec(
        *(names if names and size % part == 0 else None for names, size, part in zip(split, shape, parts, strict=True))
    )


def whole_spec(axes: tuple[str | None, ...], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """Return how an array with logical `axes` is split over `mesh` if every dimension divides.

    Raises:
      KeyError: an axis name that RULES does not have.
    """
    return PartitionSpec(*(_mesh_axes(axis, mesh) or None for axis in axes))


def _mesh_axes(axis: str | None, mesh: Mesh | AbstractMesh) -> tuple[str, ...]:
    return () if axis is None else tuple(name for name in RULES[axis] if mesh.shape[name] > 1)
