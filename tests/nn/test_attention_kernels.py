"""Every way to compute attention over a map gives what the definition gives, gradients too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import equations, normal

from samjax.core.errors import UserError
from samjax.nn import spatial_attention as kernels
from samjax.nn.kernels import blockwise
from samjax.nn.kernels.blockwise import blockwise_attention
from samjax.nn.kernels.cudnn import cudnn_attention
from samjax.nn.kernels.folding import folded_attention
from samjax.nn.kernels.plain import plain_attention
from samjax.nn.kernels.splash import splash_attention
from samjax.nn.spatial_attention import AttentionKernel, choose_kernel, spatial_attention
from samjax.parallel.mesh import MeshConfig, make_mesh

KERNELS = {
    "folded": folded_attention,
    "blockwise": blockwise_attention,
    "cudnn's folding": functools.partial(cudnn_attention, implementation="xla"),
    "splash": functools.partial(splash_attention, interpret=True),
}
# Square, wide, a prime number of rows, more tokens than a tile of the TPU kernel and no multiple of it.
GRIDS = [(8, 16), (6, 5), (7, 3), (11, 13)]


def inputs(grid, n=2, heads=2, channels=8):
    maps = [normal(n, *grid, heads, channels, seed=seed) for seed in range(3)]
    offsets = [0.5 * normal(side, side, channels, seed=3 + axis) for axis, side in enumerate(grid)]
    return *maps, *offsets


def outcome(attention, arguments):
    """Return the result and its gradient with respect to each argument, under random weights of the outputs."""
    weight = normal(*arguments[2].shape, seed=9)

    def weighted(*arguments):
        out = attention(*arguments)
        return jnp.sum(weight * out), out

    (_, out), gradients = jax.value_and_grad(weighted, argnums=range(5), has_aux=True)(*arguments)
    return dict(zip(("out", "q", "k", "v", "rows", "columns"), (out, *gradients), strict=True))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_is_the_definition(name, grid):
    arguments = inputs(grid)
    expected = outcome(plain_attention, arguments)
    for part, value in outcome(KERNELS[name], arguments).items():
        error = jnp.linalg.norm(value - expected[part]) / jnp.linalg.norm(expected[part])
        assert error < 1e-6, (part, float(error))


@pytest.mark.parametrize("grid", [(6, 5), (13, 1), (131, 1)], ids=str)
@pytest.mark.parametrize("name", [*KERNELS, "plain"])
def test_no_positions_are_zero_positions(name, grid):
    """On a map, and on a sequence: a map one token wide."""
    *maps, rows, columns = inputs(grid)
    kernel = {**KERNELS, "plain": plain_attention}[name]
    expected = outcome(plain_attention, (*maps, 0 * rows, 0 * columns))
    found = outcome(lambda q, k, v, *_: kernel(q, k, v, None, None), (*maps, rows, columns))
    for part in ("out", "q", "k", "v"):
        error = jnp.linalg.norm(found[part] - expected[part]) / jnp.linalg.norm(expected[part])
        assert error < 1e-6, (part, float(error))


ROW = 4 * 5 * 30  # bytes of the scores of a row of queries of one head, at 6 x 5 tokens


@pytest.mark.parametrize("room", [0, 2 * ROW, 13 * ROW, 2**30], ids=["a row", "two rows", "two heads", "everything"])
def test_blocks_of_any_size_give_the_same(monkeypatch, room):
    monkeypatch.setitem(blockwise.BLOCK_BYTES, "cpu", room)
    arguments = inputs((6, 5))
    expected = outcome(plain_attention, arguments)
    for part, value in outcome(blockwise_attention, arguments).items():
        np.testing.assert_allclose(value, expected[part], atol=1e-5, err_msg=part)


def test_large_scores_neither_overflow_nor_drown():
    """A softmax without its largest score subtracted overflows at 89."""
    q, k, v, rows, columns = inputs((6, 5))
    expected = outcome(plain_attention, (30 * q, 30 * k, v, rows, columns))
    for part, value in outcome(blockwise_attention, (30 * q, 30 * k, v, rows, columns)).items():
        np.testing.assert_allclose(value, expected[part], atol=2e-4, err_msg=part)


def largest_array(function, *arguments):
    """Return the bytes of the largest array that a function, the functions it calls and its loops' bodies make."""

    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    return max(var.aval.size * var.aval.dtype.itemsize for equation in equations(jaxpr) for var in equation.outvars)


def test_blockwise_never_holds_the_scores():
    """At 32 x 32 tokens the scores are 8 MB in 2 heads; a block's are 1 MB, and nothing is larger, backwards either."""
    arguments = inputs((32, 32), n=1, channels=4)
    scores = 4 * 2 * 1024**2

    def gradients(attention):
        return lambda *arguments: outcome(attention, arguments)

    assert largest_array(gradients(plain_attention), *arguments) >= scores
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(blockwise.BLOCK_BYTES, "cpu", scores // 8)
        assert largest_array(gradients(blockwise_attention), *arguments) <= scores // 8


@pytest.mark.parametrize(("data", "fsdp", "tensor"), [(8, 1, 1), (2, 2, 2), (1, 1, 8)])
def test_each_device_attends_in_its_own_maps_and_heads(data, fsdp, tensor):
    arguments = inputs((6, 5), n=8, heads=8)
    attention = functools.partial(spatial_attention, kernel=AttentionKernel.BLOCKWISE)
    expected = outcome(attention, arguments)
    with jax.set_mesh(make_mesh(MeshConfig(data=data, fsdp=fsdp, tensor=tensor))):
        split = jax.jit(lambda arguments: outcome(attention, arguments))(arguments)
    for part, value in split.items():
        np.testing.assert_allclose(value, expected[part], atol=2e-5, err_msg=part)


def test_the_kernel_is_the_platforms():
    bfloat16, float32 = jnp.dtype("bfloat16"), jnp.dtype("float32")
    assert choose_kernel(AttentionKernel.AUTO, grid=(8, 8), channels=64, dtype=bfloat16) is AttentionKernel.PLAIN
    assert choose_kernel(AttentionKernel.AUTO, grid=(14, 14), channels=64, dtype=bfloat16) is AttentionKernel.BLOCKWISE
    assert choose_kernel(AttentionKernel.AUTO, grid=(64, 64), channels=64, dtype=float32) is AttentionKernel.BLOCKWISE
    assert choose_kernel(AttentionKernel.PLAIN, grid=(64, 64), channels=64, dtype=float32) is AttentionKernel.PLAIN
    with pytest.raises(UserError, match="SPLASH runs on a tpu, but this is a cpu"):
        choose_kernel(AttentionKernel.SPLASH, grid=(64, 64), channels=64, dtype=bfloat16)


@pytest.mark.parametrize("where", ["gpu", "tpu"])
def test_windows_are_one_product_on_accelerators(monkeypatch, where):
    monkeypatch.setattr(kernels, "platform", lambda: where)
    window = choose_kernel(AttentionKernel.AUTO, grid=(14, 14), channels=64, dtype=jnp.dtype("bfloat16"))
    assert window is AttentionKernel.FOLDED


def test_cudnn_is_chosen_where_a_folded_head_is_narrow_enough(monkeypatch):
    """Hopper takes 256 channels: 64 of its own and 2 x 64 places, not 2 x 112; before Hopper it takes 128."""
    monkeypatch.setattr(kernels, "platform", lambda: "gpu")
    bfloat16 = jnp.dtype("bfloat16")

    def chosen(side, dtype=bfloat16, positions=True):
        return choose_kernel(AttentionKernel.AUTO, grid=(side, side), channels=64, dtype=dtype, positions=positions)

    monkeypatch.setattr(kernels, "_flash_channels", lambda: 256)
    assert chosen(64) is AttentionKernel.CUDNN
    assert chosen(112) is AttentionKernel.BLOCKWISE
    assert chosen(64, jnp.dtype("float32")) is AttentionKernel.BLOCKWISE
    monkeypatch.setattr(kernels, "_flash_channels", lambda: 128)
    assert chosen(64) is AttentionKernel.BLOCKWISE
    assert chosen(64, positions=False) is AttentionKernel.CUDNN
