"""Photos, a store and a model for the annotator's tests: the micro model, whose masks are noise."""

import io
from types import SimpleNamespace

import numpy as np
from helpers.generators import micro_engine
from PIL import Image

from samjax.annotate.embedding_store import EmbeddingStore, EmbeddingStoreConfig
from samjax.core.errors import UserError


def jpeg_of(size, *, seed=0):
    """Return a JPEG of (h, w) random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="JPEG", quality=90)
    return encoded.getvalue()


class MicroPhotos:
    """Photos by id: of two sizes, and one that is no JPEG, 404."""

    SIZES = ((48, 70), (90, 35))

    def __getitem__(self, photo_id):
        if photo_id < 0:
            raise LookupError(photo_id)
        height, width = self.SIZES[photo_id % 2]
        return SimpleNamespace(height=height, width=width)

    def jpeg(self, photo_id):
        if photo_id == 404:
            return b"no picture"
        if photo_id == 405:
            raise UserError("photo 405: no such file")
        return jpeg_of(self.SIZES[photo_id % 2], seed=photo_id)


def micro_store(folder, engine, *, precision="float32", gigabytes=0.01):
    config = EmbeddingStoreConfig(gigabytes=gigabytes, precision=precision)
    shape = (*engine.config.grid, engine.config.embedding)
    return EmbeddingStore(folder, encoder=engine.describe_encoder(), shape=shape, config=config)


def other_engine():
    """Return an engine with other weights than `micro_engine()`'s."""
    return micro_engine(seed=1)
