"""Embeddings of photos in a folder: a file a photo, named by the photo's contents, of one encoder.

`manifest.json` says which encoder and which frame the embeddings belong to. A file is NumPy's `.npy`, which
`numpy.load` reads, followed by 16 bytes: a digest of the manifest, the file's name and its contents. So a file that is
damaged, or of another encoder, is noticed when it is read. Nothing is ever deleted here.
"""

import functools
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from etils import epath
from jaxtyping import Float32

from samjax.core.errors import MachineError, UserError
from samjax.core.files import write_whole
from samjax.core.folder import check_can_write
from samjax.core.machine_faults import raise_machine_fault
from samjax.data.frame import Decoding
from samjax.data.records.photos import Record

_MANIFEST = "manifest.json"
_DIGEST_BYTES = 16

Embedding = Float32[np.ndarray, "gh gw c"]


def photo_key(record: Record, decoding: Decoding) -> bytes:
    """Return 32 bytes that stand for a photo's pixels: a digest of its file and of how it is decoded."""
    digest = hashlib.sha256(f"{record.height} x {record.width} {decoding.value}\n".encode())
    digest.update(record.jpeg)
    return digest.digest()


class EmbeddingCache:
    """The embeddings in `folder`, each of `shape` (height, width, channels), stored as `dtype`.

    `option` is the flag by which the user gave the folder. A manifest should say so where the dtype is not float32.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        *,
        shape: tuple[int, int, int],
        dtype: Literal["float32", "float16"] = "float32",
        option: str = "--cache-embeddings",
    ):
        self.folder = epath.Path(folder).expanduser()
        self.shape, self._option = shape, option
        self._dtype = np.dtype(dtype).newbyteorder("<")
        header = io.BytesIO()
        descr = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, descr)
        self._header = header.getvalue()

    @property
    def bytes_per_photo(self) -> int:
        """The size of a file."""
        return len(self._header) + self._dtype.itemsize * int(np.prod(self.shape)) + _DIGEST_BYTES

    def check_encoder(self, encoder: Mapping[str, Any]) -> bool:
        """Refuse a folder of another encoder or frame, and one that cannot be used; return whether it has a manifest.

        `encoder` says all that changes an embedding, as JSON takes it.

        Raises:
          UserError: it is another one's, or no cache, or cannot be written to.
        """
        check_can_write(str(self.folder), option=self._option)
        manifest = self.folder / _MANIFEST
        if not manifest.exists():
            if self.folder.exists() and any(not entry.name.startswith(".") for entry in self.folder.iterdir()):
                raise UserError(
                    f"{self._option} {self.folder} holds other files, and no {_MANIFEST}: give a new or an empty folder"
                )
            return False
        found, expected = self._read_manifest(), json.loads(json.dumps(encoder))
        for name in [*expected, *found]:
            if found.get(name) != expected.get(name):
                raise UserError(
                    f"{self._option} {self.folder} holds embeddings whose {name} is {_short(found.get(name))}, this "
                    f"run's is {_short(expected.get(name))}: give another folder, or the weights and the frame that it "
                    "was filled with"
                )
        return True

    def open_for(self, encoder: Mapping[str, Any]) -> None:
        """Make the folder this encoder's, or see that it is.

        Raises:
          UserError: see `check_encoder`.
        """
        if not self.check_encoder(encoder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / _MANIFEST, json.dumps(encoder, indent=2) + "\n")
            self.check_encoder(encoder)

    def holds(self, key: bytes) -> bool:
        """Return whether the photo's embedding is there, whole by its size.

        Raises:
          UserError: a file of another size is in its place.
        """
        path = self.path(key)
        if not path.exists():
            return False
        size = path.stat().length
        if size != self.bytes_per_photo:
            raise UserError(f"{path} is damaged: {size:,} bytes, expected {self.bytes_per_photo:,}; {self._way_out}")
        return True

    def read(self, key: bytes) -> Embedding | None:
        """Return the photo's embedding, None if it is not there.

        Raises:
          MachineError: the file is damaged or of another encoder, or it cannot be read.
        """
        path = self.path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise_machine_fault(error, what=f"{path} cannot be read")
            raise MachineError(f"{path} cannot be read ({error.strerror or error})") from error
        contents, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if len(data) != self.bytes_per_photo or digest != self._digest(key, contents):
            raise MachineError(f"{path} is damaged, or of another encoder; {self._way_out}")
        stored = np.frombuffer(contents, self._dtype, offset=len(self._header))
        return stored.reshape(self.shape).astype(np.float32, copy=False)

    def write(self, key: bytes, embedding: Embedding) -> None:
        """Write a photo's embedding atomically.

        Raises:
          UserError: it cannot be written.
        """
        if embedding.shape != self.shape:
            raise ValueError(f"an embedding of shape {embedding.shape} for a cache of {self.shape}")
        contents = self._header + np.ascontiguousarray(embedding, self._dtype).tobytes()
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, contents + self._digest(key, contents))

    def path(self, key: bytes) -> epath.Path:
        """Return where the photo's embedding is, or will be."""
        return self.folder / key.hex()[:2] / f"{key.hex()}.npy"

    @property
    def _way_out(self) -> str:
        return "delete that file, and the next start encodes its photo again"

    @functools.cached_property
    def _encoder(self) -> bytes:
        """The manifest, as part of each file's digest."""
        return json.dumps(self._read_manifest(), sort_keys=True).encode()

    def _read_manifest(self) -> dict[str, Any]:
        manifest = self.folder / _MANIFEST
        try:
            found = json.loads(manifest.read_text())
        except (OSError, ValueError) as error:
            raise_machine_fault(error, what=f"{manifest} cannot be read")
            found = None
        if not isinstance(found, dict):
            raise UserError(f"{manifest} is damaged: give another {self._option}, or delete {self.folder} yourself")
        return found

    def _digest(self, key: bytes, contents: bytes) -> bytes:
        digest = hashlib.blake2b(self._encoder + key, digest_size=_DIGEST_BYTES)
        digest.update(contents)
        return digest.digest()


def _short(value: Any) -> str:
    """Return a manifest's value in words: of a long digest its beginning."""
    if isinstance(value, str) and len(value) > 16:
        return f"{value[:12]}..."
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
