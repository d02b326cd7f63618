"""What a photo shared by four devices costs in exchanged bytes: heads and MLPs split between them, or its rows.

    python benchmarks/split_photos.py

Compiles one block of ViT-H, forward and backward, for four virtual CPU devices and runs nothing. Bytes are those of the
results of collectives on one device, in float32; a block in bfloat16 exchanges half.
"""

import math
import re
import sys

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from samjax.models.sam.sam import SamConfig
from samjax.models.vit import blocks
from samjax.parallel import sharding
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.rules import RULES

DEVICES = 4
COLLECTIVE = re.compile(r"= (.*?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")


def exchanged(*, window: int | None, rows: bool) -> int:
    """Return the bytes that collectives of a training pass through a block give one device."""
    config = SamConfig.vit_h(dtype="float32")
    mesh = make_mesh(MeshConfig(data=1, tensor=DEVICES), jax.devices()[:DEVICES])
    encoder, dtype = config.image_encoder.vit(), config.compute_dtype
    graph, variables = nnx.split(
        nnx.eval_shape(lambda: blocks.Block(encoder, window=window, grid=config.grid, dtype=dtype, rngs=nnx.Rngs(0)))
    )
    shapes = nnx.to_pure_dict(variables)
    shardings = sharding.tree_shardings(sharding.logical_axes(variables), shapes, mesh)
    place = NamedSharding(mesh, PartitionSpec(None, "tensor" if rows else None))
    tokens = jax.ShapeDtypeStruct((1, *config.grid, config.image_encoder.width), jnp.float32, sharding=place)
    params = jax.tree.map(lambda s, to: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=to), shapes, shardings)

    def train(params, tokens, cotangent):
        def apply(params, tokens):
            return nnx.merge(graph, params)(tokens, jnp.float32(0), None)

        out, back = jax.vjp(jax.checkpoint(apply), params, tokens)
        gradient, before = back(cotangent)
        return out, jax.lax.with_sharding_constraint(gradient, shardings), before

    with jax.set_mesh(mesh):
        jitted = jax.jit(train, out_shardings=(place, shardings, place))
        text = jitted.lower(params, tokens, tokens).compile().as_text() or ""
    shapes_of = [shape for result in COLLECTIVE.findall(text) for shape in re.findall(r"f32\[([\d,]*)\]", result)]
    return sum(4 * math.prod(map(int, filter(None, shape.split(",")))) for shape in shapes_of)


def main() -> None:
    jax.config.update("jax_num_cpu_devices", DEVICES)
    ways = [("heads and MLPs", False), ("rows", True)]
    print("| split over four devices | windowed block | global block |\n|---|---|---|")
    for name, rows in ways:
        if rows:
            RULES.update(mlp=(), heads=(), rows=("tensor",))
            blocks.constrain = lambda x, *_: sharding.constrain(x, "batch", "rows", None, None)
        cells = [f"{exchanged(window=window, rows=rows) / 2**20:.0f} MiB" for window in (14, None)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
