"""A picture sheet of a batch as the model sees it: photos in their frames, their masks, their first prompts."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from samjax.core.batches import Batch
from samjax.core.prompts import PointLabel, Prompts
from samjax.pictures.canvas import Cell, Grid
from samjax.pictures.colours import Colour, mask_colour, mix
from samjax.pictures.overlay import draw_box, draw_point, outline

CELL = 480
"""Longest side of a frame in the sheet, in pixels."""

_COLUMNS = ("photo in the model's frame", "masks", "first prompts: points, noisy boxes")


def batch_grid(batch: Batch, prompts: Prompts, *, title: str) -> Grid:
    """Return a row for every photo of `batch`: as the model sees it, with its masks, with its prompts.

    A mask keeps its colour within its row. Rows without a photo are skipped.
    """
    batch, prompts = jax.device_get((batch, prompts))
    photos = [b for b in range(len(batch.record_id)) if batch.mask_valid[b].any()]
    assert batch.image is not None
    frame_height, frame_width = batch.image.shape[1:3]
    scale = CELL / max(frame_height, frame_width)
    cell = (max(1, round(frame_height * scale)), max(1, round(frame_width * scale)))
    notes = []
    for b in photos:
        height, width = (int(side) for side in batch.valid_size[b])
        count = int(batch.mask_valid[b].sum())
        notes.append(
            f"image {batch.record_id[b]}: {height} x {width} of the frame's {frame_height} x {frame_width}, "
            f"{count} mask{'s' if count > 1 else ''}"
        )
    rows = [[Cell(picture=picture) for picture in _pictures(batch, prompts, b, cell=cell)] for b in photos]
    return Grid(rows=rows, title=title, headings=_COLUMNS, notes=notes, text=16, border=True)


def _pictures(
    batch: Batch, prompts: Prompts, b: int, *, cell: tuple[int, int]
) -> Sequence[UInt8[np.ndarray, "cell_h cell_w 3"]]:
    """Return photo `b` of the batch as it is, with its masks, and with its prompts, each of `cell` = (h, w) pixels."""
    assert batch.image is not None
    photo = Image.fromarray(np.asarray(batch.image[b])).resize((cell[1], cell[0]), Image.Resampling.BICUBIC)
    unpacked = np.unpackbits(np.asarray(batch.masks[b]), axis=-1, count=batch.image.shape[2]).astype(bool)
    slots = np.flatnonzero(batch.mask_valid[b]).tolist()
    masks = {slot: _shrink(unpacked[slot], cell) for slot in slots}
    colours = {slot: mask_colour(place) for place, slot in enumerate(slots)}
    largest_first = sorted(slots, key=lambda slot: -np.count_nonzero(unpacked[slot]))

    grey = np.asarray(photo.convert("L"), np.float32)[..., None]
    filled = np.repeat(0.75 * grey, 3, axis=-1)
    lined = (0.8 * np.asarray(photo, np.float32)).astype(np.uint8)
    for slot in largest_first:  # the smaller on top, or a whole would hide its parts
        colour = np.array(colours[slot], np.float32)
        filled[masks[slot]] = (0.35 * grey + 0.65 * colour)[masks[slot]]
        lined = outline(lined, masks[slot], colours[slot])
    painted = filled.astype(np.uint8)
    for slot in largest_first:
        painted = outline(painted, masks[slot], mix(colours[slot], (0, 0, 0), 0.5))
    prompted = Image.fromarray(lined)
    for slot in largest_first:
        _draw_prompt(prompted, prompts, b, slot, scale=cell[1] / batch.image.shape[2], colour=colours[slot])
    return np.asarray(photo), painted, np.asarray(prompted)


def _draw_prompt(picture: Image.Image, prompts: Prompts, b: int, slot: int, *, scale: float, colour: Colour) -> None:
    """Draw the first prompt of mask `slot`: a disc, or a box."""
    draw = ImageDraw.Draw(picture)
    coords, labels = np.asarray(prompts.coords[b, slot]) * scale, np.asarray(prompts.labels[b, slot])
    if labels[0] == PointLabel.BOX_MIN:
        (x0, y0), (x1, y1) = coords[:2].tolist()
        draw_box(draw, (x0, y0, x1, y1), colour, width=2)
    else:
        x, y = coords[0].tolist()
        draw_point(draw, (x, y), colour, radius=5.0)


def _shrink(mask: Bool[np.ndarray, "h w"], cell: tuple[int, int]) -> Bool[np.ndarray, "cell_h cell_w"]:
    """Return the mask at the cell's size: where at least half of a pixel is inside, or any of it for a tiny mask."""
    share = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((cell[1], cell[0]), Image.Resampling.BOX))
    inside = share >= 128
    return inside if inside.any() else share > 0
