"""Files written whole or not at all."""

import io
import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from samjax.core.errors import UserError


def printable(text: str) -> str:
    r"""Return `text` so that any output can encode it.

    A file's name need not be UTF-8. Python keeps each byte that is not as a lone surrogate, which no encoder takes; it
    becomes an escape here, as in JSON: `caf\udce9.jpg`. Other text is returned as it is.
    """
    return text.encode(errors="backslashreplace").decode()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that whoever reads it, after a kill too, finds what was there before or all of `content`.

    Text is written as UTF-8, see `printable`.

    Raises:
      UserError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(printable(content).encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): give another --out") from error
    finally:
        partial.unlink(missing_ok=True)


def write_png(path: Path, picture: UInt8[np.ndarray, "h w *colours"]) -> None:
    """Write a picture, grey or RGB, as a PNG, see `write_whole`."""
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, format="PNG")
    write_whole(path, encoded.getvalue())
