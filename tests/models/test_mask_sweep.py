"""The two-way transformer by kernels that sweep over the cells: what it computes, and when it is chosen."""

import jax
import jax.numpy as jnp
import optax
import pytest
from drawn import drawn, normal
from flax import nnx

from samjax.models.sam import mask_sweep, two_way
from samjax.models.sam.image_side import DensePrompt, PromptedImage
from samjax.models.sam.mask_sweep import CellKernel
from samjax.models.sam.two_way import TwoWayTransformer
from samjax.nn.kernels import cell_sweep
from samjax.parallel.mesh import MeshConfig, make_mesh

PHOTOS, MASKS, TOKENS, CELLS, WIDTH, HEADS = 1, 2, 3, 256, 128, 8
POSITIONS = normal(1, CELLS, WIDTH, seed=1)
AUTO = CellKernel.AUTO
VALID = jnp.array([[[True, True, True], [True, True, False]]])


def outcome(run):
    """Return tokens and cells, and the gradients of tokens, image, dense prompt and every parameter."""
    make = lambda: TwoWayTransformer(  # noqa: E731
        WIDTH, depth=2, heads=HEADS, hidden=32, dropout=0.3, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0)
    )
    graph, weights = nnx.split(drawn(make))
    prompt = DensePrompt(
        features=normal(PHOTOS, MASKS, CELLS, 4, seed=2), kernel=normal(4, WIDTH, seed=3), constant=normal(1, 2, WIDTH)
    )
    inputs = {
        "tokens": normal(PHOTOS, MASKS, TOKENS, WIDTH, seed=4),
        "image": PromptedImage(image=normal(PHOTOS, CELLS, WIDTH, seed=5), prompt=prompt),
    }
    results, pull = jax.vjp(lambda weights, inputs: run(nnx.merge(graph, weights), **inputs), weights, inputs)
    seen = jnp.where(VALID[..., None], normal(PHOTOS, MASKS, TOKENS, WIDTH, seed=6), 0)  # rows of padding are ignored
    return (results[0] * VALID[..., None], results[1]), pull((seen, normal(PHOTOS, MASKS, CELLS, WIDTH, seed=7)))


def transform(transformer, tokens, image):
    return transformer(tokens, image, image_positions=POSITIONS, token_valid=VALID, keys=None)


@pytest.fixture
def sweeping(monkeypatch):
    """Make the transformers that run from now on sweep, two blocks a mask."""

    def start():
        monkeypatch.setattr(two_way, "sweeps_cells", lambda *_, **__: True)
        monkeypatch.setattr(cell_sweep, "_BLOCK", CELLS // 2)

    return start


@pytest.mark.slow
def test_sweeping_changes_nothing(sweeping):
    """Results to 1e-5, gradients to 1e-4 of their norm, beside what rounding gives keys' biases, which have none."""
    with jax.default_matmul_precision("highest"):
        plain = jax.jit(lambda: outcome(transform))()
        sweeping()
        swept = jax.jit(lambda: outcome(transform))()
    for ours, expected in zip(swept[0], plain[0], strict=True):
        assert jnp.linalg.norm(ours - expected) < 1e-5 * jnp.linalg.norm(expected)
    rounding = 1e-6 * optax.tree.norm(plain[1])
    for (path, expected), ours in zip(
        jax.tree_util.tree_leaves_with_path(plain[1]), jax.tree.leaves(swept[1]), strict=True
    ):
        error = jnp.linalg.norm(ours - expected)
        assert error < 1e-4 * jnp.linalg.norm(expected) + rounding, (jax.tree_util.keystr(path), float(error))


@pytest.mark.slow
def test_each_mask_has_dropout_of_its_own(sweeping):
    """The same mask twice is two draws, and what one loses does not depend on the other's key; no key, no noise."""
    sweeping()
    sweep = mask_sweep.MaskSweep(positions=POSITIONS, epsilon=1e-5, rate=0.3)
    change = drawn_change()
    cells, queries = (jnp.repeat(normal(1, 1, *shape), 2, axis=1) for shape in ((CELLS, WIDTH), (1, HEADS, WIDTH)))

    def changed(*seeds):
        keys = jnp.stack([jax.random.key(seed) for seed in seeds])[None] if seeds else None
        return sweep.change(cells, change, queries, keys=keys)[0][0]

    quiet, noisy, others = changed(), changed(0, 1), changed(0, 2)
    assert (quiet[0] == quiet[1]).all()
    assert (noisy[0] != noisy[1]).any()
    assert (others[0] == noisy[0]).all()
    assert (others[1] != noisy[1]).any()


def drawn_change() -> cell_sweep.Change:
    """Return one that is the same for two masks."""
    rows = jnp.repeat(normal(1, HEADS, WIDTH), 2, axis=0)
    return cell_sweep.Change(
        keys=rows,
        bias=rows[..., 0],
        values=rows,
        out_bias=jnp.zeros(WIDTH),
        scale=jnp.ones(WIDTH),
        shift=jnp.zeros(WIDTH),
    )


def test_it_is_chosen_on_tpus_where_arrays_are_a_devices_own(monkeypatch):
    """A compiler that splits arrays over devices cannot split a kernel; inside `shard_map` nothing is left to split."""
    positions = POSITIONS.astype(jnp.bfloat16)
    assert not mask_sweep.sweeps_cells(AUTO, positions, tokens=TOKENS, heads=HEADS)
    monkeypatch.setattr(mask_sweep, "platform", lambda: "tpu")
    assert mask_sweep.sweeps_cells(AUTO, positions, tokens=TOKENS, heads=HEADS)
    assert not mask_sweep.sweeps_cells(CellKernel.PLAIN, positions, tokens=TOKENS, heads=HEADS)
    assert not mask_sweep.sweeps_cells(AUTO, POSITIONS, tokens=TOKENS, heads=HEADS)
    assert not mask_sweep.sweeps_cells(AUTO, positions[:, :200], tokens=TOKENS, heads=HEADS)
    assert not mask_sweep.sweeps_cells(AUTO, positions, tokens=TOKENS, heads=2)
    assert not mask_sweep.sweeps_cells(AUTO, positions, tokens=65, heads=HEADS)

    seen = []

    def inside(x):
        seen.append(mask_sweep.sweeps_cells(AUTO, positions, tokens=TOKENS, heads=HEADS))
        return x

    mesh = make_mesh(MeshConfig(data=8, fsdp=1, tensor=1))
    with jax.set_mesh(mesh):
        assert not mask_sweep.sweeps_cells(AUTO, positions, tokens=TOKENS, heads=HEADS)
        spec = jax.sharding.PartitionSpec("data")
        jax.eval_shape(jax.shard_map(inside, in_specs=spec, out_specs=spec, check_vma=False), jnp.zeros(8))
    assert seen == [True]
