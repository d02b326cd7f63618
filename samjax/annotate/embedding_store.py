"""Embeddings of photos on disk, by content and encoder, within a bound on their bytes.

Several checkpoints, folders of photos and servers may share a folder: `<encoder>/<xx>/<photo>.npy`, each `<encoder>` an
`EmbeddingCache`. `<photo>` is the SHA-256 of the JPEG's bytes and `<encoder>` a digest of weights, frame and precision,
so a new checkpoint writes new files, and the old ones age out. The folder can be filled on a machine with an
accelerator and copied.
"""

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from samjax.core.errors import MachineError, UserError
from samjax.core.ranges import Range, config_class
from samjax.core.text import printable
from samjax.data.embedding_cache import EmbeddingCache

log = logging.getLogger(__name__)

_OPTION = "--cache"
_FEWEST = 16
"""Embeddings that there must be room for: those of a few annotators' photos and the next ones."""
_STALE_S = 3600.0
"""A partial file of this age belongs to a process that was killed."""

Embedding = Float32[np.ndarray, "gh gw c"]


@config_class("embeddings")
class EmbeddingStoreConfig:
    """How embeddings are stored."""

    gigabytes: Annotated[float, Range(above=0, why="it bounds the folder's size")] = 20.0
    """Size of the folder, in 10^9 bytes; beyond it the embeddings used longest ago are deleted."""
    precision: Literal["float32", "float16"] = "float32"
    """With float32 a mask equals that of `samjax predict` bit for bit; float16 takes half the bytes, and may move a few
    border pixels."""


class _File(NamedTuple):
    last_use_ns: int
    size: int
    path: str


def default_folder() -> Path:
    """Return where embeddings go if the user names no folder: `~/.cache/samjax/embeddings`, or under XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "samjax" / "embeddings"


class EmbeddingStore:
    """The embeddings of one encoder in `folder`. Processes may share the folder, and threads the store.

    Args:
      folder: made if it is not there. It must not be the folder of annotations.
      encoder: the manifest of the encoder, of `Engine.describe_encoder`.
      shape: of an embedding, (height, width, channels).

    Raises:
      UserError: the folder cannot be written to or is not a cache, or `gigabytes` holds too few embeddings.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        encoder: Mapping[str, Any],
        shape: tuple[int, int, int],
        config: EmbeddingStoreConfig = EmbeddingStoreConfig(),  # noqa: B008  frozen
    ):
        self.folder = Path(folder).expanduser()
        self.encoder, self.shape, self.config = dict(encoder), shape, config
        manifest = dict(encoder) if config.precision == "float32" else {**encoder, "stored": config.precision}
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
        self._cache = EmbeddingCache(self.folder / digest, shape=shape, dtype=config.precision, option=_OPTION)
        self._most = int(config.gigabytes * 1e9)
        if self._most < _FEWEST * self.bytes_per_photo:
            raise UserError(
                f"embeddings.gigabytes is {config.gigabytes}, and an embedding takes {self.bytes_per_photo / 1e6:,.1f} "
                f"MB: give at least {_FEWEST * self.bytes_per_photo / 1e9:.2g}, room for {_FEWEST}"
            )
        self._cache.open_for(manifest)

    @property
    def bytes_per_photo(self) -> int:
        """The size of an embedding's file."""
        return self._cache.bytes_per_photo

    @property
    def capacity(self) -> int:
        """How many photos' embeddings there is room for."""
        return self._most // self.bytes_per_photo

    def key(self, jpeg: bytes) -> bytes:
        """Return what a photo's embedding is called: 32 bytes, the SHA-256 of its file."""
        return hashlib.sha256(jpeg).digest()

    def holds(self, key: bytes) -> bool:
        """Return whether the photo's embedding is there; a damaged file counts as absent, and is deleted."""
        try:
            return self._cache.holds(key)
        except UserError as error:
            self._discard(key, error)
            return False

    def read(self, key: bytes) -> Embedding | None:
        """Return the photo's embedding, and count it as used now; None if it is not there, whole.

        Raises:
          MachineError: the disk fails.
        """
        path = Path(self._cache.path(key))
        if not self.holds(key):
            return None
        try:
            embedding = self._cache.read(key)
        except MachineError as error:
            if isinstance(error.__cause__, OSError):
                raise
            self._discard(key, error)
            return None
        with contextlib.suppress(OSError):  # another server deleted it meanwhile, or a file system without times
            os.utime(path)
        return embedding

    def write(self, key: bytes, embedding: Embedding) -> None:
        """Write a photo's embedding atomically; then delete what the folder has no room for.

        Raises:
          UserError: it cannot be written.
        """
        self._cache.write(key, embedding)
        self._evict(keep=str(self._cache.path(key)))

    def size(self) -> int:
        """Return how many bytes of embeddings the folder holds, those of other encoders too."""
        return sum(file.size for file in self._files())

    def _evict(self, *, keep: str) -> None:
        """Delete the embeddings used longest ago until the rest is within the bound."""
        files = sorted(self._files())
        excess = sum(file.size for file in files) - self._most
        for file in files:
            if excess <= 0:
                return
            if file.path != keep:
                with contextlib.suppress(FileNotFoundError):  # another server was faster
                    os.unlink(file.path)
                excess -= file.size

    def _files(self) -> Iterator[_File]:
        """Yield the files of embeddings, of every encoder; delete partial ones that nobody writes any more."""
        for encoder in _folders(self.folder):
            for part in _folders(encoder.path):
                with contextlib.suppress(OSError), os.scandir(part.path) as entries:
                    for entry in entries:
                        with contextlib.suppress(FileNotFoundError):
                            found = entry.stat()
                            if entry.name.endswith(".npy"):
                                yield _File(found.st_mtime_ns, found.st_size, entry.path)
                            elif entry.name.endswith(".partial") and found.st_mtime < time.time() - _STALE_S:
                                os.unlink(entry.path)

    def _discard(self, key: bytes, error: Exception) -> None:
        log.warning("%s", printable(f"{error}: deleted, and encoded again when it is needed"))
        Path(self._cache.path(key)).unlink(missing_ok=True)


def _folders(path: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
