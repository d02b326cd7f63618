"""Reads weights of other codebases as a model's arrays and config."""

import fnmatch
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.interop.families import FAMILIES
from samjax.interop.family import Reading, Recognition, Source, without_prefix
from samjax.interop.state_dict import StateDict, read_state_dict


@dataclass(frozen=True, kw_only=True)
class ImportedWeights:
    """Imported weights for `save_weights`, with a report."""

    reading: Reading
    """Config and arrays; of a plain ViT those of `image_encoder` alone, without its neck."""
    recognition: Recognition
    """Their family and key layout."""
    sha256: dict[str, str]
    """Of each file read, by its name."""
    unused_keys: list[str]
    """Keys that the model does not use."""
    ignored_keys: list[str]
    """Keys that the user chose to ignore."""
    notes: list[str]

    @property
    def title(self) -> str:
        """What it is: `a Segment Anything ViT-B`."""
        what = f"a {self.recognition.family.name} {self.recognition.family.size(self.reading.config)}"
        return f"{self.recognition.naming.part} of {what}" if self.recognition.naming.part else what


def import_weights(
    path: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    decoder_heads: int | None = None,
    under: str | None = None,
    ignore: Sequence[str] = (),
) -> ImportedWeights:
    """Read a file or folder of weights, recognise their family and size, and convert them to our layout.

    Args:
      image_size: frame (height, width) in pixels to resize position tables for. By default a whole model keeps its own,
        bit for bit, and a plain ViT gets the paper's, 1024 x 1024.
      decoder_heads: attention heads of the mask decoder, if neither its width nor a config.json tells.
      under: the key of the state dict in a training checkpoint that holds several.
      ignore: shell patterns of keys to ignore, such as `image_encoder.adapters/**`; slash and dot are the same, and a
        star matches both.

    Raises:
      UserError: they cannot be read, belong to no known model, or do not match (the message lists every array, by key);
        or a pattern of `ignore` matches no key.
    """
    path = Path(path)
    read, ignored = _without_ignored(read_state_dict(path, under=under), ignore)
    found = recognise(read.arrays, name=str(path))
    own = without_prefix(read.arrays, found.prefix)
    outside = {key: array for key, array in read.arrays.items() if not key.startswith(found.prefix)}
    reading = found.family.read(
        Source(
            name=str(path),
            naming=found.naming,
            arrays=own if found.naming.part else own | outside,  # a whole model's file holds nothing else
            config_json=read.config,
            image_size=image_size,
            folder=path if path.is_dir() else path.parent,
            decoder_heads=decoder_heads,
        )
    )
    unused = {*(outside if found.naming.part else ()), *(found.prefix + key for key in reading.unused_keys)}
    return ImportedWeights(
        reading=reading,
        recognition=found,
        sha256=read.sha256,
        unused_keys=[key for key in read.arrays if key in unused],
        ignored_keys=ignored,
        notes=[*([f"the state dict under {read.under} in the file is taken"] if read.under else []), *reading.notes],
    )


def recognise(arrays: Mapping[str, Any], *, name: str) -> Recognition:
    """Return the family and key layout of a state dict called `name`.

    Raises:
      UserError: no known family has its keys, or it holds several models.
    """
    for parts, family in itertools.product((False, True), FAMILIES):  # a whole model holds what is a part of another
        found = family.recognise(arrays, parts=parts)
        if len(found) > 1:
            places = ", ".join(repr(one.prefix) for one in found)
            raise UserError(f"{name} holds several models, under {places}: save one of them alone")
        if found:
            return found[0]
    known = "; ".join(f"{family.name} ({', '.join(one.title for one in family.namings)})" for family in FAMILIES)
    raise UserError(
        f"{name} is of another architecture: its keys, such as {', '.join(sorted(arrays)[:3]) or 'none'}, are not "
        f"those of a model that samjax knows: {known}"
    )


def _without_ignored(read: StateDict, patterns: Sequence[str]) -> tuple[StateDict, list[str]]:
    """Return the arrays whose keys match no pattern, and the keys that do."""

    def path(key: str) -> str:
        return key.replace(".", "/")

    ignored: dict[str, None] = {}
    for pattern in patterns:
        matches = [key for key in read.arrays if fnmatch.fnmatchcase(path(key), path(pattern))]
        if not matches:
            raise UserError(f"--ignore {pattern} matches no key; there are {', '.join(sorted(read.arrays)[:3])}, ...")
        ignored |= dict.fromkeys(matches)
    kept = {key: array for key, array in read.arrays.items() if key not in ignored}
    return replace(read, arrays=kept), list(ignored)
