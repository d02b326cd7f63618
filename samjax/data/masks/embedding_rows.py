"""Rows of photos with masks whose embeddings are read from a cache: the photo is not decoded, let alone encoded."""

import jax
import jax.numpy as jnp
import numpy as np

from samjax.core.errors import MachineError
from samjax.data.colour_change import ColourChange
from samjax.data.embedding_cache import EmbeddingCache, photo_key
from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
from samjax.data.records import masks as records
from samjax.data.view import View


class EmbeddingExamples(MaskExamples):
    """`MaskExamples` with each photo's embedding from `cache` in place of its pixels.

    With `pixels` they are there too, for pictures.
    """

    def __init__(self, config: MaskDataConfig, *, image_size: tuple[int, int], cache: EmbeddingCache, pixels: bool):
        super().__init__(config, image_size=image_size, augment=False)
        self._cache, self._pixels = cache, pixels

    def row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one photo's row of a `Batch`."""
        row = {**super().row(), "embedding": jax.ShapeDtypeStruct(self._cache.shape, jnp.float32)}
        if not self._pixels:
            del row["image"]
        return row

    def photo(self, record: records.Record, view: View, colours: ColourChange | None = None) -> dict[str, np.ndarray]:
        """Return the photo's embedding.

        Raises:
          PhotoError: the record is corrupt.
          MachineError: the embedding is not there, or cannot be read.
        """
        pixels = super().photo(record, view, colours) if self._pixels else {}
        embedding = self._cache.read(photo_key(record, self._decoding))
        if embedding is None:
            # A photo that cannot be decoded was not encoded either: it is counted as such.
            super().photo(record, view, colours)
            raise MachineError(
                f"{self._cache.folder} holds no embedding of its photo: start the run again to encode it"
            )
        return {**pixels, "embedding": embedding}
