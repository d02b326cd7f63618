"""What all families of dense prediction models do alike when they read a state dict."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from samjax.core.errors import UserError
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.pixels import PixelStatistics

FRAME = DenseConfig().image_size
"""The frame, (height, width) in pixels, of a model that takes photos of any size, unless another is asked for."""


def used_part(source: Source, *patterns: str) -> Source:
    """Return the source without the arrays that files are known to carry and that models do not use.

    `patterns` are those of keys that not all models of the layout leave unused.
    """
    unused = _unused_keys(source, patterns)
    return replace(source, arrays={key: array for key, array in source.arrays.items() if key not in unused})


def _unused_keys(source: Source, more: Sequence[str]) -> dict[str, None]:
    patterns = (*source.naming.unused_patterns, *more)
    return {key: None for key in source.arrays if any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)}


def reading(family: Family, source: Source, config: DenseConfig, *notes: str, unused: Sequence[str] = ()) -> Reading:
    """Return a model of `config` with the arrays of `source`, bit for bit; `unused` is as for `used_part`.

    Raises:
      UserError: names every array that does not fit.
    """
    params, buffers = family.from_torch(used_part(source, *unused).arrays, config, source.naming)
    if source.naming.part:
        notes = (*notes, f"{source.naming.part} alone: a run that starts from it makes a fresh head")
    return Reading(
        config=config,
        params=params,
        buffers=buffers,
        unused_keys=tuple(_unused_keys(source, unused)),
        notes=tuple(notes),
    )


def beyond_pixels(config: DenseConfig, naming: Naming) -> str:
    """Return what a model does to its photos that no layout can say."""
    del naming
    own = config.pixel_statistics is PixelStatistics.PHOTO
    return "normalises each photo with its own mean and standard deviation" if own else ""


def frame_note(source: Source, frame: tuple[int, int] = FRAME) -> tuple[str, ...]:
    """Return a note where the frame was taken that nobody asked for."""
    if source.image_size is not None:
        return ()
    height, width = frame
    return (
        f"no array says for what frame the model was trained: {height} x {width} is taken, --image-size gives another",
    )


def class_names(described: Mapping[str, Any], classes: int, *, name: str) -> tuple[str, ...]:
    """Return the classes' names in a config.json, called `name`, none where they are transformers' numbers.

    Raises:
      UserError: they are not one for each class.
    """
    labels = described.get("id2label")
    if labels is None:
        return ()
    numbers = [str(number) for number in range(classes)]
    if not isinstance(labels, dict) or {*labels} != {*numbers} or not all(isinstance(x, str) for x in labels.values()):
        raise UserError(f"{name}: id2label is {labels!r:.60}, expected the names of classes 0 to {classes - 1}")
    names = tuple(labels[number] for number in numbers)
    return () if names == tuple(f"LABEL_{number}" for number in numbers) else names
