"""Segment Anything: the release's and transformers' whole models, and plain ViTs as starts of an image encoder."""

import fnmatch
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.axes import POSITION_ROWS
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming, Slot, arrays_from_torch, write_out
from samjax.interop.tables.sam_config_json import check_against, hints_from_json, notes
from samjax.interop.tables.sam_geometry import Hints, release_blocks, sam_config, vit_config
from samjax.interop.tables.sam_rows import RELEASE, SAM_ROWS, TRANSFORMERS, VIT, slots
from samjax.models.sam.from_vit import encoder_from_vit, resize_encoder
from samjax.models.sam.sam import SamConfig
from samjax.models.sam.sam_sizes import size_name
from samjax.nn.pixels import PIXEL_MEAN, PIXEL_STD, PixelStatistics

_PIXELS = {"pixel_mean": PIXEL_MEAN, "pixel_std": PIXEL_STD}
_CLASS_TOKENS = ("cls_token", "dist_token")


def _read(source: Source) -> Reading:
    return _read_vit(source) if source.naming is VIT else _read_whole(source)


def _read_whole(source: Source) -> Reading:
    """Read a whole model: bit for bit in its own frame, else with its position tables resized."""
    arrays, unused = _without_pixels(source.arrays)
    described = source.config_json if source.naming is TRANSFORMERS else None
    name = f"{source.name}/config.json"
    known = Hints(decoder_heads=source.decoder_heads) if described is None else hints_from_json(described, name=name)
    own = sam_config(arrays, source.naming, known)
    if described is not None:
        check_against(described, own, name=name)
    params, buffers = SAM.from_torch(arrays, own, source.naming)
    config, changes = own, ()
    if source.image_size is not None and source.image_size != own.image_size:
        config = replace(own, image_size=source.image_size)
        fitted = resize_encoder(params["image_encoder"], config)
        params, changes = {**params, **fitted.params}, fitted.changes
    more_notes = []
    if known.global_blocks is None and own.grid == 2 * (own.image_encoder.window,):
        blocks = ", ".join(map(str, release_blocks(own.image_encoder.depth)))
        more_notes.append(
            f"the map is as large as a window, so no array says which blocks attend globally: {blocks} are taken, as "
            "in the release; at this frame it makes no difference"
        )
    return Reading(
        config=config,
        params=params,
        buffers=buffers,
        changes=changes,
        unused_keys=tuple(unused),
        notes=(*more_notes, *([] if described is None else notes(described))),
    )


def _without_pixels(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return a whole model's arrays and the keys left out: the pixels' mean and deviation, which must be ours."""
    kept, unused = dict(arrays), []
    for key, ours in _PIXELS.items():
        if key in kept:
            theirs = kept.pop(key).ravel()
            if theirs.shape != (3,) or not np.allclose(theirs, ours, rtol=1e-4):
                raise UserError(f"{key} is {theirs.tolist()[:3]}, but photos are normalised by {list(ours)} here")
            unused.append(key)
    return kept, unused


def _read_vit(source: Source) -> Reading:
    """Read a plain ViT as the image encoder of a model with the paper's frame, patch and windows."""
    config = vit_config(source.arrays)
    if source.image_size is not None:
        config = replace(config, image_size=source.image_size)
    unused = [key for key in source.arrays if any(fnmatch.fnmatchcase(key, pattern) for pattern in VIT.unused_patterns)]
    kept = {key: array for key, array in source.arrays.items() if key not in unused}
    fitted = encoder_from_vit(
        _vit_arrays(kept, config), config, class_rows=sum(token in source.arrays for token in _CLASS_TOKENS)
    )
    return Reading(
        config=config,
        params=fitted.params,
        buffers={},
        changes=fitted.changes,
        unused_keys=tuple(unused),
        notes=("the image encoder alone, without its neck: prompt encoder, mask decoder and neck are not in it",),
    )


def _vit_arrays(state: Mapping[str, np.ndarray], config: SamConfig) -> dict[str, np.ndarray]:
    """Return a plain ViT's arrays as `encoder_from_vit` takes them, tables and kernel as large as they are."""
    blocks = {"block": [Slot(number=number, folder=str(number)) for number in range(config.image_encoder.depth)]}
    expected, table, shapes = SAM.shapes(config), [], {}
    for entry, fitted in zip(write_out(SAM_ROWS, blocks, VIT), SAM.entries(config, VIT), strict=True):
        shape, array = fitted.shape_in(expected[fitted.path]), state.get(entry.keys[0])
        kind = entry.path.rsplit("/", 1)[-1]
        if kind in ("row_positions", "column_positions"):
            if array is None:
                continue
            shape = array.shape if array.shape[1:] == shape[1:] else shape
        elif array is not None and entry.path == "image_encoder/position" and array.shape[-1:] == shape[-1:]:
            entry = replace(entry, layout=POSITION_ROWS) if array.ndim == 3 else entry
            shape = array.shape[1:] if array.ndim in (3, 4) else shape
        elif array is not None and entry.path == "image_encoder/patch_embed/kernel":
            shape = (*array.shape[2:], *shape[2:])  # `vit_config` has looked at it
        table.append(entry)
        shapes[entry.path] = shape
    arrays = arrays_from_torch(table, state, shapes)
    return {path.removeprefix("image_encoder/").replace("groups/", "blocks/"): arrays[path] for path in arrays}


def _beyond(config: SamConfig, naming: Naming) -> str:
    del naming  # none can say it
    own = config.pixel_statistics is PixelStatistics.PHOTO
    return "normalises each photo with its own mean and standard deviation" if own else ""


SAM = Family(
    name="Segment Anything",
    config=SamConfig,
    namings=(TRANSFORMERS, RELEASE, VIT),
    rows=lambda config: SAM_ROWS,
    stacks=slots,
    read=_read,
    size=size_name,
    beyond=_beyond,
)
