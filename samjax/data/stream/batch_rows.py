"""The rows of a global batch that a process holds, and their transfer to the devices."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from samjax.core.errors import UserError
from samjax.data.stream.example import NO_RECORD, Example, ExampleMaker


class BatchRows:
    """The rows of a batch that this process holds, and how they are assembled."""

    def __init__(self, maker: ExampleMaker, *, batch_size: int, sharding: jax.sharding.Sharding | None):
        self.batch_size = batch_size
        self._maker = maker
        self._sharding = sharding
        if batch_size < 1:
            raise UserError(f"batch size {batch_size} must be at least 1")
        if sharding is None:
            self.rows = np.arange(batch_size)
            return
        try:
            sharding.shard_shape((batch_size,))
            places = sharding.addressable_devices_indices_map((batch_size,))
        except ValueError as error:
            raise UserError(
                f"batch size {batch_size} cannot be divided over the {sharding.num_devices} devices of the mesh: "
                f"give a multiple of the ways its images are split ({sharding})"
            ) from error
        self.rows = np.unique(np.concatenate([np.arange(batch_size)[place] for place in places.values() if place]))

    def stack(self, examples: Sequence[Example | None]) -> dict[str, np.ndarray]:
        """Return the rows of `examples` stacked by field; None gives a row of zeros without a record."""
        shapes = self._maker.row()
        stacked: dict[str, np.ndarray] = {
            name: np.zeros((len(examples), *shape.shape), shape.dtype) for name, shape in shapes.items()
        }
        stacked["record_id"] = np.full(len(examples), NO_RECORD, np.int32)
        for row, example in enumerate(examples):
            if example is None:
                continue
            for name, values in example.arrays.items():
                place = stacked[name][row]
                place[: len(values)] = values
            stacked["record_id"][row] = example.record_id
        return stacked

    def place(self, stacked: dict[str, np.ndarray]) -> Any:
        """Return the global batch, a struct of the task, from this process's part `stacked`."""
        return self._maker.batch(**{name: self._place(values) for name, values in stacked.items()})

    def _place(self, local: np.ndarray) -> jax.Array:
        if self._sharding is None:
            return jax.device_put(local)

        def shard(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None  # JAX asks only for local shards
            start, stop, _ = index[0].indices(self.batch_size)
            return local[np.searchsorted(self.rows, start) :][: stop - start]

        return jax.make_array_from_callback((self.batch_size, *local.shape[1:]), self._sharding, shard)


def abstract_batch(maker: ExampleMaker, *, batch_size: int, sharding: jax.sharding.Sharding) -> Any:
    """Return the shapes of a global batch, as the task's struct."""
    shapes = {**maker.row(), "record_id": jax.ShapeDtypeStruct((), jnp.int32)}

    def zeros() -> Any:
        rows = {name: jnp.zeros((batch_size, *shape.shape), shape.dtype) for name, shape in shapes.items()}
        return maker.batch(**rows)

    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), jax.eval_shape(zeros)
    )
