"""Logical axis names, and the mesh axes they are split over."""

from jax.sharding import AbstractMesh, Mesh, PartitionSpec

RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "mask": ("tensor",),
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
    spec = []
    for axis, size in zip(axes, shape, strict=True):
        mesh_axes = tuple(name for name in RULES[axis] if mesh.shape[name] > 1) if axis is not None else ()
        parts = 1
        for name in mesh_axes:
            parts *= mesh.shape[name]
        spec.append(mesh_axes if mesh_axes and size % parts == 0 else None)
    return PartitionSpec(*spec)
