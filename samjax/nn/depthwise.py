"""Depthwise convolutions, each channel with a 3 x 3 kernel of its own.

XLA's CPU compiler has no fast program for them: its convolution takes fifty times as long as nine shifted products, and
its gradient seventeen times. On TPUs and GPUs the convolution is XLA's own.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from samjax.nn.init import parameter
from samjax.parallel.sharding import platform

SIDE = 3
"""Of a kernel."""
DEPTHWISE_INIT = nnx.initializers.normal((2 / SIDE**2) ** 0.5)
"""He et al.'s: a depthwise output sees nine inputs."""
_BANDS = 8
"""Into how many bands of rows a CPU adds up the kernel's gradient before it sums over pixels."""
_PLACES = [(row, column) for row in range(SIDE) for column in range(SIDE)]


class DepthwiseConv(nnx.Module):
    """A 3 x 3 convolution of each channel alone, padded by one; kernel (3, 3, 1, channels).

    `axis` is the logical name of the channels.
    """

    def __init__(
        self,
        channels: int,
        *,
        stride: int = 1,
        use_bias: bool = True,
        init: Initializer = DEPTHWISE_INIT,
        axis: str | None = None,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.stride, self.dtype = stride, dtype
        self.kernel = parameter(init, (SIDE, SIDE, 1, channels), axes=(None, None, None, axis), rngs=rngs)
        self.bias = parameter(nnx.initializers.zeros, (channels,), axes=(axis,), rngs=rngs) if use_bias else None

    def __call__(self, maps: Float[Array, "b h w c"]) -> Float[Array, "b oh ow c"]:
        """Return the maps convolved; sides are divided by the stride, rounded up."""
        convolve: Any = _by_shifts if platform() == "cpu" else _by_xla
        out: Array = convolve(maps.astype(self.dtype), self.kernel[...].astype(self.dtype), self.stride)
        return out if self.bias is None else out + self.bias[...].astype(self.dtype)


def _by_xla(maps: Float[Array, "b h w c"], kernel: Float[Array, "3 3 1 c"], stride: int) -> Float[Array, "b oh ow c"]:
    return jax.lax.conv_general_dilated(
        maps,
        kernel,
        (stride, stride),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=maps.shape[-1],
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _by_shifts(
    maps: Float[Array, "b h w c"], kernel: Float[Array, "3 3 1 c"], stride: int
) -> Float[Array, "b oh ow c"]:
    shifted = _shifts(maps, stride)
    # A product with the identity puts the kernel in memory. A kernel that is a layer of a stack is sliced anew for each
    # pixel otherwise, in code without vector instructions: four times as long.
    places = jnp.eye(SIDE**2, dtype=kernel.dtype) @ kernel.reshape(SIDE**2, -1)
    products = (shifted(place) * one for place, one in zip(_PLACES, places, strict=True))
    return functools.reduce(jnp.add, products)


def _forward(maps: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return _by_shifts(maps, kernel, stride), (maps, kernel)


def _backward(stride: int, kept: tuple[Array, Array], slope: Float[Array, "b oh ow c"]) -> tuple[Array, Array]:
    maps, kernel = kept
    spread = slope
    if stride > 1:
        interior = [(0, 0, 0), *((0, side - 1 - (out - 1) * stride, stride - 1) for side, out in _sides(maps, slope)),
                    (0, 0, 0)]  # fmt: skip
        spread = jax.lax.pad(slope, jnp.zeros((), slope.dtype), interior)
    into: Any = _by_shifts(spread, kernel[::-1, ::-1], 1)
    shifted = _shifts(maps, stride)
    sums = [_sum_of_pixels(shifted(place).astype(jnp.float32) * slope.astype(jnp.float32)) for place in _PLACES]
    return into, jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)


def _sum_of_pixels(maps: Float[Array, "b h w c"]) -> Float[Array, "c"]:
    """Return the sum of each channel: over bands of rows first, in vector instructions, which a CPU's sum has not."""
    rows = -(-maps.shape[1] // _BANDS)
    maps = jnp.pad(maps, ((0, 0), (0, rows * _BANDS - maps.shape[1]), (0, 0), (0, 0)))
    bands = functools.reduce(jnp.add, jnp.split(maps, _BANDS, axis=1)).reshape(-1, maps.shape[-1])
    return jnp.ones(len(bands), maps.dtype) @ bands


_by_shifts.defvjp(_forward, _backward)


def _shifts(maps: Float[Array, "b h w c"], stride: int) -> Callable[[tuple[int, int]], Float[Array, "b oh ow c"]]:
    """Return a function of a kernel's place: what this place sees of the padded maps."""
    padded = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    (height, width) = maps.shape[1:3]
    return lambda place: padded[:, place[0] : place[0] + height : stride, place[1] : place[1] + width : stride]


def _sides(maps: Array, out: Array) -> list[tuple[int, int]]:
    return list(zip(maps.shape[1:3], out.shape[1:3], strict=True))
