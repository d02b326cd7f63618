"""The two-way transformer compiled for TPUs that are not there, with and without the kernels that sweep over cells.

pytest -m aot -n 0 -rP tests/aot/test_mask_sweep_for_tpus.py      # prints the table of docs/benchmarks.md
"""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from samjax.models.sam import two_way
from samjax.models.sam.image_side import DensePrompt, PromptedImage
from samjax.models.sam.two_way import TwoWayTransformer
from samjax.parallel.chips import CHIPS, Chip
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import replicated
from samjax.plan.hlo import parse
from samjax.plan.hlo_cost import Work, work
from samjax.plan.topology import parse_topology, topology_devices

CELLS, WIDTH, FEATURES = 4096, 256, 16  # of a published model's mask at 1024 pixels
TOPOLOGIES = {"v4": "v4:2x2x1", "v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}
SHARE = 0.60


def compile_for(kind: str, *, masks: int, tokens: int) -> Work:
    """Compile forward and backward pass of one photo's masks with dropout, for one chip, and count."""
    mesh = make_mesh(MeshConfig(), topology_devices(parse_topology(TOPOLOGIES[kind]))[:1])
    dtype = jnp.dtype("bfloat16")
    graph, weights = nnx.split(
        nnx.eval_shape(
            lambda: TwoWayTransformer(WIDTH, depth=2, heads=8, hidden=2048, dropout=0.1, dtype=dtype, rngs=nnx.Rngs(0))
        )
    )

    def array(*shape, dtype=dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=replicated(mesh))

    image = (
        array(1, CELLS, WIDTH),
        array(1, masks, CELLS, FEATURES),
        array(FEATURES, WIDTH, dtype=jnp.float32),
        array(1, masks, WIDTH, dtype=jnp.float32),
    )

    def both(weights, tokens, image, positions, valid, words, d_out):
        def run(weights, tokens, image):
            photo, features, kernel, constant = image
            prompt = DensePrompt(features=features, kernel=kernel, constant=constant)
            side = PromptedImage(image=photo, prompt=prompt)
            keys, transformer = jax.random.wrap_key_data(words), nnx.merge(graph, weights)
            return transformer(tokens, side, image_positions=positions, token_valid=valid, keys=keys)

        out, pull = jax.vjp(run, weights, tokens, image)
        return out[0], pull(d_out)

    words, valid = array(1, masks, 2, dtype=jnp.uint32), array(1, masks, tokens, dtype=jnp.bool_)
    of_tokens, of_cells = array(1, masks, tokens, WIDTH), array(1, masks, CELLS, WIDTH)
    weights = jax.tree.map(lambda leaf: array(*leaf.shape, dtype=leaf.dtype), weights)
    with jax.set_mesh(mesh):
        lowered = jax.jit(both).lower(
            weights, of_tokens, image, array(1, CELLS, WIDTH), valid, words, (of_tokens, of_cells)
        )
        return work(parse(lowered.compile().as_text() or ""))


def floor(done: Work, chip: Chip) -> float:
    """Return seconds: what moves or what is computed, and a microsecond per instruction."""
    latency = 1e-6 * (done.instructions - done.scalar_instructions)
    return max(done.flops / chip.flops, done.bytes / chip.memory_bandwidth) + latency


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.aot if kind == "v5e" else pytest.mark.aot_full) for kind in TOPOLOGIES],
)
def test_sweeping_lowers_the_floor(kind, monkeypatch):
    """Of 16 masks with 16 tokens. Bytes fall to a quarter; products that are computed again are half as many more."""
    swept = compile_for(kind, masks=16, tokens=16)
    monkeypatch.setattr(two_way, "sweeps_cells", lambda *_, **__: False)
    plain = compile_for(kind, masks=16, tokens=16)
    chip = next(chip for chip in CHIPS if chip.name == kind)
    for name, done in (("plain", plain), ("swept", swept)):
        print(
            f"| {kind} | {name} | {done.flops / 1e9:.0f} GFLOP | {done.bytes / 1e6:,.0f} MB "
            f"| {1e3 * done.flops / chip.flops:.2f} ms | {1e3 * done.bytes / chip.memory_bandwidth:.2f} ms "
            f"| {done.instructions - done.scalar_instructions} | {1e3 * floor(done, chip):.2f} ms |"
        )
    assert swept.unseen_kernels == 0, "a kernel does not say what it computes"
    assert swept.bytes < 0.3 * plain.bytes
    assert swept.flops < 1.65 * plain.flops
    assert floor(swept, chip) < SHARE * floor(plain, chip)


@pytest.mark.aot
@pytest.mark.parametrize("kind", ["v4", "v6e"])
@pytest.mark.parametrize("tokens", [7, 64])
def test_kernels_fit_on_the_chip_with_any_number_of_tokens(kind, tokens):
    """The compiler refuses kernels that need more on-chip memory than they may use: 64 tokens are the most we sweep."""
    assert compile_for(kind, masks=2, tokens=tokens).flops > 0
