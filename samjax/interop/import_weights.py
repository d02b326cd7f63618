"""Weights of other codebases as a model's arrays and config, from the file on."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.fit import fit
from samjax.interop.geometry import Known, Recognised, recognise, release_blocks, sam_config, size_name, vit_config
from samjax.interop.state_dict import StateDict, read_state_dict
from samjax.interop.table import Naming
from samjax.interop.torch_weights import Tree, from_torch
from samjax.interop.transformers_config import check_against, known_from, notes
from samjax.models.sam.config import SamConfig
from samjax.models.sam.sam import PIXEL_MEAN, PIXEL_STD

_TITLES = {
    Naming.SEGMENT_ANYTHING: "the Segment Anything release's",
    Naming.TRANSFORMERS: "transformers' SamModel",
    Naming.VIT: "a plain ViT's, as timm, MAE and ViTDet name it",
}
_PIXELS = {"pixel_mean": PIXEL_MEAN, "pixel_std": PIXEL_STD}
# Of a classifier, of MAE's decoder, of timm's own SAM encoder: the image encoder of a SAM has no use for them.
_LEFT_OUT = (
    *("cls_token", "dist_token", "mask_token", "reg_token", "decoder_*"),
    *("norm.*", "fc_norm.*", "pre_logits.*", "head.*", "head_dist.*", "neck.*"),
)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What `save_weights` takes, and what is to be said about it."""

    params: Tree
    """Of a plain ViT `image_encoder` alone, without its neck."""
    buffers: Tree
    model: SamConfig
    naming: Naming
    sha256: dict[str, str]
    """Of each file read, by its name."""
    title: str
    """Whose format it is."""
    size: str
    changes: list[str]
    """What was resized, and how."""
    left_out: list[str]
    """Keys that a SAM has no use for."""
    ignored: list[str]
    """Keys that the user left out."""
    notes: list[str]


def import_weights(
    path: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    decoder_heads: int | None = None,
    under: str | None = None,
    ignore: Sequence[str] = (),
) -> Imported:
    """Read a file or folder of weights, see whose they are and how large, and bring them into our arrangement.

    Args:
      image_size: frame (height, width) in pixels to resize position tables for. Left out, a whole model keeps its own,
        bit for bit, and a plain ViT's are brought to the paper's, 1024 x 1024.
      decoder_heads: of the mask decoder, where neither its width nor a config.json says how many.
      under: the key of the state dict in a training checkpoint that holds several.
      ignore: shell patterns of keys to leave out, such as `image_encoder.adapters/**`; a slash is a dot, and a star
        stands for any of both.

    Raises:
      UserError: they cannot be read, are of no model that is known, or do not match; every array that does not, by key;
        a pattern of `ignore` that matches none.
    """
    path = Path(path)
    read, ignored = _without_ignored(read_state_dict(path, under=under), ignore)
    found = recognise(read.arrays, name=str(path))
    more_notes = [f"the state dict under {read.under} in the file is taken"] if read.under else []
    if found.naming is Naming.VIT:
        return _backbone(read, found, image_size=image_size, ignored=ignored, more_notes=more_notes)
    arrays, left_out = _whole(read, found)
    is_described = found.naming is Naming.TRANSFORMERS and read.config is not None
    described: dict[str, Any] = read.config if is_described and read.config else {}
    known = known_from(described, name=f"{path}/config.json") if is_described else Known(decoder_heads=decoder_heads)
    own = sam_config(arrays, found.naming, known)
    if is_described:
        check_against(described, own, name=f"{path}/config.json")
    model, changes = own, []
    if image_size is not None and image_size != own.image_size:
        model = replace(own, image_size=image_size)
        fitted = fit(arrays, model, found.naming)
        arrays, changes = fitted.arrays, fitted.changes
    if known.global_blocks is None and own.grid == 2 * (own.image_encoder.window,):
        blocks = ", ".join(map(str, release_blocks(own.image_encoder.depth)))
        more_notes.append(
            f"the map is as large as a window, so no array says which blocks attend globally: {blocks} are taken, as "
            "in the release; at this frame it makes no difference"
        )
    params, buffers = from_torch(arrays, model, found.naming)
    return Imported(
        params=params,
        buffers=buffers,
        model=model,
        naming=found.naming,
        sha256=read.sha256,
        title=_TITLES[found.naming],
        size=size_name(model),
        changes=changes,
        left_out=left_out,
        ignored=ignored,
        notes=more_notes + (notes(described) if is_described else []),
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


def _whole(read: StateDict, found: Recognised) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return a whole model's arrays and the keys left out: the pixels' mean and deviation, which must be ours."""
    arrays, left_out = _without_prefix(read.arrays, found.prefix), []
    for key, ours in _PIXELS.items():
        if key in arrays:
            theirs = arrays.pop(key).ravel()
            if theirs.shape != (3,) or not np.allclose(theirs, ours, rtol=1e-4):
                raise UserError(f"{key} is {theirs.tolist()[:3]}, but photos are normalised by {list(ours)} here")
            left_out.append(found.prefix + key)
    return arrays, left_out


def _backbone(
    read: StateDict,
    found: Recognised,
    *,
    image_size: tuple[int, int] | None,
    ignored: list[str],
    more_notes: list[str],
) -> Imported:
    here = {key for key in read.arrays if key.startswith(found.prefix)}
    own = _without_prefix({key: read.arrays[key] for key in here}, found.prefix)
    is_left_out = {key: any(fnmatch.fnmatchcase(key, pattern) for pattern in _LEFT_OUT) for key in own}
    model = vit_config(own)
    if image_size is not None:
        model = replace(model, image_size=image_size)
    fitted = fit(own, model, Naming.VIT)
    kept = {key: array for key, array in fitted.arrays.items() if not is_left_out.get(key)}
    params, buffers = from_torch(kept, model, Naming.VIT)
    left_out = [key for key in read.arrays if key not in here or is_left_out[key.removeprefix(found.prefix)]]
    return Imported(
        params=params,
        buffers=buffers,
        model=model,
        naming=Naming.VIT,
        sha256=read.sha256,
        title=_TITLES[Naming.VIT],
        size=size_name(model),
        changes=fitted.changes,
        left_out=left_out,
        ignored=ignored,
        notes=[
            *more_notes,
            "the image encoder alone, without its neck: prompt encoder, mask decoder and neck are not in it",
        ],
    )


def _without_prefix(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): array for key, array in arrays.items()}
