"""Every parameter of a model as text: a line each, with how meshes split it."""

import functools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flax import nnx
from jax.sharding import AbstractMesh, NamedSharding

from samjax.core.tree import named_leaves
from samjax.nn.structure import abstract_model
from samjax.parallel.mesh import AXES, MeshConfig, Preset
from samjax.parallel.rules import partition_spec
from samjax.parallel.sharding import logical_axes

GOLDEN = Path(__file__).parent.parent / "golden"
DEVICES = 256


@functools.cache
def abstract(config: Any) -> tuple[nnx.GraphDef[Any], nnx.State, nnx.State]:
    """Return the model's structure, its parameters and its buffers; tests share them."""
    return abstract_model(config.make)


def table(config: Any) -> str:
    """Return a line a parameter: what it is, and how either preset splits it over `DEVICES` devices."""
    meshes = {
        preset.value: AbstractMesh(MeshConfig(preset=preset).sizes(DEVICES), AXES)
        for preset in (Preset.FSDP, Preset.FSDP_TENSOR)
    }
    totals = dict.fromkeys(meshes, 0)
    lines = [
        "# Path, shape, type, logical axes; then for each mesh the axes that split it, and bytes a device.",
        *(
            f"# {name}: {', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())}"
            for name, mesh in meshes.items()
        ),
    ]
    for variables in abstract(config)[1:]:
        leaves = named_leaves(nnx.to_pure_dict(variables))
        axes = named_leaves(logical_axes(variables), is_leaf=lambda node: isinstance(node, tuple))
        for path, leaf in leaves.items():
            columns = [f"{path} {'x'.join(map(str, leaf.shape))} {leaf.dtype} {_dimensions(axes[path])}"]
            for name, mesh in meshes.items():
                spec = partition_spec(axes[path], leaf.shape, mesh)
                shard = math.prod(NamedSharding(mesh, spec).shard_shape(leaf.shape)) * leaf.dtype.itemsize
                totals[name] += shard
                columns.append(f"{_dimensions(spec)} {shard}")
            lines.append(" | ".join(columns))
    lines.append(f"# bytes a device | {' | '.join(f'{name} {total}' for name, total in totals.items())}")
    return "\n".join(lines) + "\n"


def _dimensions(names: Iterable[str | tuple[str, ...] | None]) -> str:
    return ",".join("+".join(name) if isinstance(name, tuple) else name or "-" for name in names)
