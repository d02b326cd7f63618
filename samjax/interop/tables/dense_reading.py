"""What all families of dense prediction models do alike when they read a state dict."""

import fnmatch
from collections.abc import Mapping
from dataclasses import replace

from samjax.core.errors import UserError
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.pixels import PixelStatistics

FRAME = DenseConfig().image_size
"""The frame, (height, width) in pixels, of a model that takes photos of any size, unless another is asked for."""


def used_part(source: Source) -> Source:
    """Return the source without the arrays that files are known to carry and that models do not use."""
    unused = unused_keys(source)
    return replace(source, arrays={key: array for key, array in source.arrays.items() if key not in unused})


def unused_keys(source: Source) -> dict[str, None]:
    """Return the keys of those arrays."""
    patterns = source.naming.unused_patterns
    return {key: None for key in source.arrays if any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)}


def reading(family: Family, source: Source, config: DenseConfig, *notes: str) -> Reading:
    """Return a model of `config` with the arrays of `source`, bit for bit.

    Raises:
      UserError: names every array that does not fit.
    """
    params, buffers = family.from_torch(used_part(source).arrays, config, source.naming)
    if source.naming.part:
        notes = (*notes, f"{source.naming.part} alone: a run that starts from it makes a fresh head")
    return Reading(
        config=config, params=params, buffers=buffers, unused_keys=tuple(unused_keys(source)), notes=tuple(notes)
    )


def beyond_pixels(config: DenseConfig, naming: Naming) -> str:
    """Return what a model does to its photos that no layout can say."""
    del naming
    own = config.pixel_statistics is PixelStatistics.PHOTO
    return "normalises each photo with its own mean and standard deviation" if own else ""


def frame_note(source: Source) -> tuple[str, ...]:
    """Return a note where a frame was taken that nobody asked for."""
    if source.image_size is not None:
        return ()
    height, width = FRAME
    return (
        f"no array says for what frame the model was trained: {height} x {width} is taken, --image-size gives another",
    )


def heads_of(width: int, published: Mapping[int, int], what: str) -> int:
    """Return the attention heads of blocks of `width`: a published model's, else one for each 64 channels.

    Raises:
      UserError: the width is neither; `what` names the blocks.
    """
    if width not in published and width % 64:
        raise UserError(
            f"{what} is {width} wide, and a state dict does not say how many attention heads it has: samjax knows "
            f"those of published widths ({', '.join(map(str, published))}) and takes one for each 64 channels otherwise"
        )
    return published.get(width, width // 64)
