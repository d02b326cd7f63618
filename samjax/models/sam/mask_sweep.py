"""Sweeps over a mask's image cells by kernels for TPUs: what the decoder does with cells, a block of them at a time."""

import enum
from dataclasses import dataclass
from typing import Any

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Key

from samjax.models.sam.image_side import Positions
from samjax.nn.kernels.cell_sweep import Change, sweep_cells, sweep_fits
from samjax.parallel.sharding import is_local, platform

Queries = Float[Array, "b m t e c"]
Sums = Float[Array, "b m t e c"]
Cells = Float[Array, "b m i c"]


class CellKernel(enum.Enum):
    """How the decoder works on a mask's image cells; the results are the same up to rounding and dropout's draws."""

    AUTO = "auto"
    """On TPUs in bfloat16, a block of cells at a time in Pallas kernels, where masks fit those; else PLAIN."""
    PLAIN = "plain"
    """One operation after the other, each on all cells."""


def sweeps_cells(kernel: CellKernel, positions: Positions, *, tokens: Any, heads: int) -> bool:
    """Say whether to sweep: on TPUs in bfloat16, if arrays are a device's own and a mask of so many tokens fits.

    In an exported program the number of tokens may be a symbol; kernels need a number.
    """
    if kernel is CellKernel.PLAIN or platform() != "tpu" or not is_local() or positions.dtype != jnp.bfloat16:
        return False
    if not isinstance(tokens, int):
        return False
    _, cells, channels = positions.shape
    return sweep_fits(cells=cells, channels=channels, rows=tokens * heads, heads=heads)


@dataclass(frozen=True, kw_only=True)
class MaskSweep:
    """Sweeps over the cells of m masks in each of b photos; `epsilon` is the norms', `rate` dropout's."""

    positions: Positions
    epsilon: float
    rate: float

    def attend(self, cells: Cells, queries: Queries) -> tuple[Cells, Sums]:
        """Return the cells, and the sums of them that tokens attend to.

        Who goes on with the returned cells has their whole gradient summed on the way back through this sweep.
        """
        return self._sweep(cells, None, queries, None)

    def change(
        self, cells: Cells, change: Change, queries: Queries, *, keys: Key[Array, "b m"] | None
    ) -> tuple[Cells, Sums]:
        """Return the changed cells, and the sums of them that tokens attend to; a key a mask turns dropout on."""
        return self._sweep(cells, change, queries, keys)

    def _sweep(
        self, cells: Cells, change: Change | None, queries: Queries, keys: Key[Array, "b m"] | None
    ) -> tuple[Cells, Sums]:
        photos, masks, tokens, heads, _ = queries.shape
        changed, sums = sweep_cells(
            einops.rearrange(cells, "b m i c -> (b m) i c"),
            self.positions[0],
            change,
            einops.rearrange(queries, "b m t e c -> (b m) (t e) c"),
            heads=heads,
            epsilon=self.epsilon,
            rate=self.rate,
            seeds=None if keys is None else _seeds(keys),
            interpret=platform() != "tpu",
        )
        sums = sums.reshape(photos, masks, tokens, heads, -1).astype(cells.dtype)
        return changed.reshape(cells.shape), sums


def _seeds(keys: Key[Array, "b m"]) -> Int32[Array, "b*m 2"]:
    """Return two numbers for each mask."""
    words = jax.vmap(lambda key: jax.random.bits(key, (2,)))(keys.reshape(-1))
    return jax.lax.bitcast_convert_type(words, jnp.int32)
