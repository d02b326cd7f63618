"""Self-attention over a token map, with or without relative positions, by the best kernel for the platform."""

import enum
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from samjax.core.errors import UserError
from samjax.nn.head_projections import into_heads, out_of_heads
from samjax.nn.init import VIT_INIT, parameter
from samjax.nn.kernels.blockwise import blockwise_attention
from samjax.nn.kernels.cudnn import cudnn_attention
from samjax.nn.kernels.folding import folded_attention
from samjax.nn.kernels.plain import ColumnOffsets, MapHeads, RowOffsets, plain_attention
from samjax.nn.kernels.splash import splash_attention
from samjax.nn.rel_pos import relative_positions
from samjax.nn.window import pad_to_windows, partition, unpartition
from samjax.parallel.sharding import per_shard, platform


class AttentionKernel(enum.Enum):
    """How attention over a map is computed; all give the same result up to rounding."""

    AUTO = "auto"
    """FOLDED in small maps, such as windows, on TPUs and GPUs; else SPLASH on TPUs, CUDNN on GPUs in bfloat16,
    BLOCKWISE elsewhere, and PLAIN in the smallest maps on CPUs."""
    PLAIN = "plain"
    """The definition. All scores at once: a 64 x 64 map's are 1 GB a photo in 16 heads."""
    FOLDED = "folded"
    """All scores at once, by one matrix product."""
    BLOCKWISE = "blockwise"
    """A few rows of queries at a time, on any platform."""
    SPLASH = "splash"
    """TPUs: Pallas's kernel."""
    CUDNN = "cudnn"
    """NVIDIA GPUs: cuDNN's kernel, in bfloat16."""


_KERNELS: dict[AttentionKernel, Callable[..., MapHeads]] = {
    AttentionKernel.PLAIN: plain_attention,
    AttentionKernel.FOLDED: folded_attention,
    AttentionKernel.BLOCKWISE: blockwise_attention,
    AttentionKernel.SPLASH: splash_attention,
    AttentionKernel.CUDNN: cudnn_attention,
}
_RUNS_ON = {AttentionKernel.SPLASH: "tpu", AttentionKernel.CUDNN: "gpu"}
# Tokens up to which all scores at once are faster. On a CPU ViT-B's windows, of 196, take 0.16 s a layer so, and 0.09 s
# BLOCKWISE.
_SMALL_MAP = {"cpu": 64, "gpu": 256, "tpu": 256}


def choose_kernel(
    wanted: AttentionKernel, *, grid: tuple[int, int], channels: int, dtype: jnp.dtype, positions: bool = True
) -> AttentionKernel:
    """Return the attention function for maps of `grid` tokens with heads of `channels`, on this platform.

    `positions` says whether it adds relative positions.

    Raises:
      UserError: the requested kernel belongs to another platform.
    """
    here = platform()
    if wanted is not AttentionKernel.AUTO:
        needs = _RUNS_ON.get(wanted, here)
        if needs != here:
            raise UserError(
                f"attention {wanted.name} runs on a {needs}, but this is a {here}: set image_encoder.attention of the "
                "model's config to AUTO or BLOCKWISE"
            )
        return wanted
    if grid[0] * grid[1] <= _SMALL_MAP[here]:
        return AttentionKernel.PLAIN if here == "cpu" else AttentionKernel.FOLDED
    if here == "tpu":
        return AttentionKernel.SPLASH
    folded = channels + sum(grid) if positions else channels
    if here == "gpu" and dtype == jnp.bfloat16 and folded <= _flash_channels():
        return AttentionKernel.CUDNN
    return AttentionKernel.BLOCKWISE


def _flash_channels() -> int:
    """Return how many channels a head cuDNN takes on this GPU; a folded map has its rows and columns beside its own."""
    capability = getattr(jax.local_devices()[0], "compute_capability", "0.0")
    return 256 if float(capability) >= 9.0 else 128  # Hopper and later


def spatial_attention(
    q: MapHeads,
    k: MapHeads,
    v: MapHeads,
    rows: RowOffsets,
    columns: ColumnOffsets,
    *,
    kernel: AttentionKernel = AttentionKernel.AUTO,
) -> MapHeads:
    """Attend within each map with decomposed relative position; `plain_attention` is the definition.

    Maps and heads are independent, so on a mesh each device computes its own.
    """
    chosen = choose_kernel(
        kernel, grid=(q.shape[1], q.shape[2]), channels=q.shape[-1], dtype=q.dtype, positions=rows is not None
    )
    attend = _KERNELS[chosen]
    heads, offsets = ("batch", None, None, "heads", None), (None, None, None)
    if rows is None or columns is None:
        return per_shard(lambda q, k, v: attend(q, k, v, None, None), (q, k, v), axes=(heads,) * 3)
    return per_shard(attend, (q, k, v, rows, columns), axes=(heads, heads, heads, offsets, offsets))


class SpatialAttention(nnx.Module):
    """Self-attention of an image encoder block: over the whole map, or within windows of `window` tokens.

    `table_size` is the (h, w) that the relative position tables are made for, None without relative positions; then a
    global attention also takes a sequence of tokens. A map that is no multiple of the window
    is padded after the projection: a zero token's q, k and v are the projection's bias, so projecting the padding,
    a fifth of the tokens at 64 x 64, is not needed. Padded keys take part in the softmax, as in the release.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        table_size: tuple[int, int] | None,
        window: int | None,
        kernel: AttentionKernel = AttentionKernel.AUTO,
        init: Initializer = VIT_INIT,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.window, self.kernel, self.dtype = window, kernel, dtype
        channels = width // heads
        self.qkv = into_heads(width, heads, parts=(3,), init=init, dtype=dtype, rngs=rngs)
        self.out = out_of_heads(width, heads, init=init, dtype=dtype, rngs=rngs)

        def offsets(axis: int) -> nnx.Param | None:
            if table_size is None:
                return None
            zeros = nnx.initializers.zeros
            return parameter(zeros, (2 * table_size[axis] - 1, channels), axes=(None, None), rngs=rngs)

        self.row_positions, self.column_positions = offsets(0), offsets(1)

    def __call__(self, tokens: Float[Array, "b *places d"]) -> Float[Array, "b *places d"]:
        """Attend; the result has the residual branch's shape."""
        if tokens.ndim == 3:
            return self(tokens[:, :, None])[:, :, 0]
        grid = (tokens.shape[1], tokens.shape[2])
        qkv = self.qkv(tokens)
        if self.window is None:
            return self.out(self._attend(qkv))
        bias = self.qkv.bias[...].astype(self.dtype)  # type: ignore[index]
        windows = partition(pad_to_windows(qkv, self.window, fill=bias), self.window)
        return self.out(unpartition(self._attend(windows), grid))

    def _attend(self, qkv: Float[Array, "n h w 3 e c"]) -> MapHeads:
        rows, columns = None, None
        if self.row_positions is not None and self.column_positions is not None:
            rows = relative_positions(self.row_positions[...], qkv.shape[1]).astype(self.dtype)
            columns = relative_positions(self.column_positions[...], qkv.shape[2]).astype(self.dtype)
        q, k, v = (qkv[..., part, :, :] for part in range(3))
        return spatial_attention(q, k, v, rows, columns, kernel=self.kernel)
