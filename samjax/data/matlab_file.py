"""Variables of MATLAB's file format, version 5, as BSDS500 and Pascal Context have them: read without trust."""

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from scipy import sparse
from scipy.io import loadmat

from samjax.data.masks.rle import MAX_PIXELS
from samjax.data.photo import why_unreadable

_MOST_BYTES = 2**25
"""Of a file; BSDS500's have a hundredth of it."""
_MOST_UNPACKED = 2**28
_HEADER, _COMPRESSED = 128, 15


def read_variable(path: Path, name: str) -> Any:
    """Return the variable `name` of a file as scipy has it, None where there is none.

    Raises:
      ValueError: it is no such file, or too large; the message continues its name.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"has {path.stat().st_size:,} bytes, more than {_MOST_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {why_unreadable(error, name=str(path))}") from error
    _check_size(content)
    try:
        return loadmat(io.BytesIO(content), variable_names=[name]).get(name)
    except Exception as error:  # for broken files scipy raises ValueError, TypeError, KeyError, zlib.error, ...
        raise ValueError(f"cannot be read: {str(error)[:200] or type(error).__name__}") from error


def real_matrix(value: Any) -> Shaped[np.ndarray, "h w"] | None:
    """Return real numbers in rows and columns, full, or None if `value` is something else or of too many pixels."""
    if not isinstance(value, np.ndarray) and not sparse.issparse(value):
        return None
    if value.ndim != 2 or value.dtype.kind not in "buif" or not 0 < math.prod(value.shape) <= MAX_PIXELS:
        return None
    return value.toarray() if sparse.issparse(value) else value  # type: ignore[union-attr]


def _check_size(content: bytes) -> None:
    """Refuse what is not of version 5, or of which a small file would unpack to more than memory holds."""
    if len(content) < _HEADER or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("is not a MATLAB file of version 5; save it with -v7 or -v6")
    order = "<" if content[126:128] == b"IM" else ">"
    if struct.unpack(f"{order}H", content[124:126])[0] != 0x0100:
        raise ValueError("is a MATLAB file of another version than 5; save it with -v7 or -v6")
    at, total = _HEADER, 0
    while at + 8 <= len(content):
        kind, length = struct.unpack(f"{order}II", content[at : at + 8])
        at += 8
        if kind == _COMPRESSED:
            total += _unpacked(content[at : at + length], most=_MOST_UNPACKED - total)
            if total >= _MOST_UNPACKED:
                raise ValueError(f"unpacks to more than {_MOST_UNPACKED:,} bytes")
        at += length


def _unpacked(packed: bytes, *, most: int) -> int:
    """Return how many bytes it unpacks to, `most` at most, without holding them."""
    unpacker, total = zlib.decompressobj(), 0
    try:
        while packed and total < most and not unpacker.eof:
            total += len(unpacker.decompress(packed, 2**20))
            packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"cannot be read: {error}") from error
    return total
