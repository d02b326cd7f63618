"""What a stage of a pyramid vision transformer is made of."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from samjax.models.pyramid.pyramid_sizes import PyramidSizes
from samjax.nn.depthwise import DepthwiseConv
from samjax.nn.drop_path import drop_path
from samjax.nn.init import VIT_INIT, parameter
from samjax.nn.interpolate import interpolate
from samjax.nn.mlp import Mlp, gelu
from samjax.nn.norm import layer_norm
from samjax.nn.patch import Patchify
from samjax.nn.reduction_attention import Reduction, ReductionAttention
from samjax.parallel.sharding import constrain

CONV_INIT = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
"""He et al.'s, over outputs, of all dense convolutions."""


class Patches(nnx.Module):
    """A stage's tokens: patches of the map before, which may overlap, and a norm; or with a table of positions."""

    def __init__(self, config: PyramidSizes, stage: int, *, grid: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs):
        inputs, outputs = (3, *config.widths)[stage], config.widths[stage]
        stride = 4 if stage == 0 else 2
        if config.overlapping:
            size = 2 * stride - 1
            self.project = nnx.Conv(
                inputs,
                outputs,
                (size, size),
                strides=stride,
                padding=size // 2,
                kernel_init=CONV_INIT,
                kernel_metadata={"axes": (None, None, None, "embed")},
                dtype=dtype,
                rngs=rngs,
            )
            self.position = None
        else:
            self.project = Patchify(inputs, outputs, stride, init=CONV_INIT, dtype=dtype, rngs=rngs)
            self.position = parameter(VIT_INIT, (*grid, outputs), axes=(None, None, "embed"), rngs=rngs)
        self.is_resized = config.table_size is not None
        self.norm = layer_norm(outputs, epsilon=1e-5, dtype=dtype, rngs=rngs)

    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b gh gw d"]:
        """Return the map of tokens."""
        tokens = self.norm(self.project(image))
        if self.position is not None:
            table = self.position[...]
            if self.is_resized:
                table = interpolate(table[None], (tokens.shape[1], tokens.shape[2]))[0]
            tokens = tokens + table.astype(tokens.dtype)
        return constrain(tokens, "batch", None, None, None)


class MixMlp(nnx.Module):
    """width -> hidden -> width, with a depthwise 3 x 3 convolution of the hidden units: it tells tokens where they are.

    With `early_relu` it sees them rectified (PVT v2 Li).
    """

    def __init__(self, width: int, hidden: int, *, early_relu: bool, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.early_relu = early_relu

        def linear(inputs: int, outputs: int, axes: tuple[str, str]) -> nnx.Linear:
            return nnx.Linear(
                inputs, outputs, kernel_init=VIT_INIT, kernel_metadata={"axes": axes}, dtype=dtype, rngs=rngs
            )

        self.up, self.down = linear(width, hidden, ("embed", "mlp")), linear(hidden, width, ("mlp", "embed"))
        self.depthwise = DepthwiseConv(hidden, axis="mlp", dtype=dtype, rngs=rngs)

    def __call__(self, tokens: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        """Apply it to a map."""
        return _mix(self, self.up(tokens))


@functools.partial(jax.checkpoint, prevent_cse=False)
def _mix(mlp: MixMlp, hidden: Float[Array, "b h w u"]) -> Float[Array, "b h w d"]:
    """Return what follows the first layer; the backward pass keeps its result alone."""
    if mlp.early_relu:
        hidden = jax.nn.relu(hidden)
    return mlp.down(gelu(mlp.depthwise(hidden)))


class PyramidBlock(nnx.Module):
    """A pre-norm transformer block whose attention sees a smaller map."""

    def __init__(self, config: PyramidSizes, stage: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        width, hidden = config.widths[stage], config.widths[stage] * config.mlp_ratios[stage]
        self.norm1 = layer_norm(width, epsilon=config.epsilon, dtype=dtype, rngs=rngs)
        self.attention = ReductionAttention(
            width,
            config.heads[stage],
            ratio=config.reductions[stage],
            reduction=config.reduction,
            reduction_init=CONV_INIT,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm2 = layer_norm(width, epsilon=config.epsilon, dtype=dtype, rngs=rngs)
        if config.overlapping:
            early = config.reduction is Reduction.POOL
            self.mlp = MixMlp(width, hidden, early_relu=early, dtype=dtype, rngs=rngs)
        else:
            self.mlp = Mlp(width, hidden, dtype=dtype, rngs=rngs)

    def __call__(
        self, tokens: Float[Array, "b h w d"], drop_rate: Float[Array, ""], keep: Bool[Array, "2 b"] | None
    ) -> Float[Array, "b h w d"]:
        """Apply to a map; `keep`, of each branch, None means no drop path."""
        attention, mlp = (None, None) if keep is None else keep
        tokens = tokens + drop_path(self.attention(self.norm1(tokens)), drop_rate, attention)
        tokens = tokens + drop_path(self.mlp(self.norm2(tokens)), drop_rate, mlp)
        return constrain(tokens, "batch", None, None, None)
