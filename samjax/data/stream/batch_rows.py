"""Which rows of a global batch a process holds, their shapes, and their way onto the devices."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int, UInt8

from samjax.core.errors import UserError
from samjax.core.types import Batch
from samjax.data.masks.packing import packed_width
from samjax.data.stream.example import Example

NO_RECORD = -1
"""`record_id` of a row that holds no photo."""


class HostBatch(NamedTuple):
    """This process's rows of a `Batch`."""

    image: UInt8[np.ndarray, "b h w 3"]
    valid_size: Int[np.ndarray, "b 2"]
    masks: UInt8[np.ndarray, "b m h packed_w"]
    mask_valid: Bool[np.ndarray, "b m"]
    record_id: Int[np.ndarray, "b"]


class Layout:
    """Shapes of a batch, and which of its rows this process holds."""

    def __init__(
        self, *, image_size: tuple[int, int], max_masks: int, batch_size: int, sharding: jax.sharding.Sharding | None
    ):
        self.image_size = image_size
        self.max_masks = max_masks
        self.batch_size = batch_size
        self._sharding = sharding
        if min(image_size) < 1 or batch_size < 1:
            raise UserError(f"image size {image_size} and batch size {batch_size} must be at least 1")
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

    def stack(self, examples: list[Example | None]) -> HostBatch:
        """Return the rows of `examples`; None gives a row that holds no photo."""
        rows, (height, width) = len(examples), self.image_size
        batch = HostBatch(
            image=np.zeros((rows, height, width, 3), np.uint8),
            valid_size=np.zeros((rows, 2), np.int32),
            masks=np.zeros((rows, self.max_masks, height, packed_width(width)), np.uint8),
            mask_valid=np.zeros((rows, self.max_masks), bool),
            record_id=np.full(rows, NO_RECORD, np.int32),
        )
        for row, example in enumerate(examples):
            if example is not None:
                batch.image[row] = example.image
                batch.valid_size[row] = example.valid_size
                batch.masks[row, : len(example.masks)] = example.masks
                batch.mask_valid[row, : len(example.masks)] = True
                batch.record_id[row] = example.record_id
        return batch

    def place(self, host: HostBatch) -> Batch:
        """Return the global batch of which this process gives `host`."""
        return Batch(**{name: self._place(values) for name, values in host._asdict().items()})

    def _place(self, local: np.ndarray) -> jax.Array:
        if self._sharding is None:
            return jax.device_put(local)

        def shard(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None  # only asked for shards that are here
            start, stop, _ = index[0].indices(self.batch_size)
            return local[np.searchsorted(self.rows, start) :][: stop - start]

        return jax.make_array_from_callback((self.batch_size, *local.shape[1:]), self._sharding, shard)
