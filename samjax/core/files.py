"""Files written whole or not at all."""

import io
import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from samjax.core.errors import UserError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that whoever reads it, after a kill too, finds what was there before or all of `content`.

    Raises:
      UserError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): give another --out") from error
    finally:
        partial.unlink(missing_ok=True)


def write_png(path: Path, picture: UInt8[np.ndarray, "h w *colours"] | Bool[np.ndarray, "h w"]) -> None:
    """Write a picture, grey, RGB or a mask, as a PNG, see `write_whole`."""
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, format="PNG")
    write_whole(path, encoded.getvalue())
