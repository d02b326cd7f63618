"""Reads NumPy's `.npz` files: plain arrays alone, and no more bytes than the file says it has."""

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from samjax.core.errors import UserError

_LARGEST = 1 << 34
"""Bytes of all arrays: four times those of the largest published ViT."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, TypeError, RuntimeError)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return a file's arrays by name; JAX's bfloat16, which NumPy writes as two bytes, as float32.

    Raises:
      UserError: it is cut off or damaged, larger than any weights, or has objects, of which nothing is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > _LARGEST:
                raise UserError(f"{path} says it unpacks to {size:,} bytes, at most {_LARGEST:,} are read")
            arrays = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                arrays[name] = _array(archive, member, f"{path}: {name}")
            return arrays
    except _DAMAGE as error:
        raise UserError(f"{path} is cut off, damaged or no .npz file ({error}): download it again") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> np.ndarray:
    """Return a member's array, whose header must say what the member holds."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise UserError(f"{name} is of NumPy's format {version}, expected plain arrays: save the arrays again")
        shape, is_fortran, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise UserError(f"{name} holds objects, which may run code, and is not read: save plain arrays")
        size, count = member.file_size, math.prod(shape)
        if file.tell() + count * dtype.itemsize != size:
            raise UserError(f"{name} has {size:,} bytes, not those of {count:,} numbers of {dtype}: download it again")
        array = np.frombuffer(file.read(), dtype).reshape(shape, order="F" if is_fortran else "C")
    if dtype.str == "|V2":  # bfloat16: the upper half of a float32
        array = (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return array
