"""A picture sheet of a batch as the model gets it: photos in their frames, their masks, their first prompts."""

import colorsys
import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Key, UInt8
from PIL import Image, ImageDraw

from samjax.core.types import Batch, MaskOutput, PointLabel, Prompts, unpack_masks
from samjax.predict.overlay import outline, text_font
from samjax.prompting.interactive import InteractionConfig, Refinement, interact

CELL = 480
"""Longest side of a frame in the sheet, in pixels."""

_GAP, _HEADER, _CAPTION = 12, 84, 26
_INK, _FAINT, _PAPER, _BORDER = (36, 41, 47), (101, 109, 118), (255, 255, 255), (150, 158, 168)
_COLUMNS = ("photo in the model's frame", "masks", "first prompts: points, noisy boxes")
_TURN = 0.61803398875  # of the hue from mask to mask: the golden section keeps neighbours apart


def first_prompts(
    batch: Batch, *, image_size: tuple[int, int], config: InteractionConfig, key: Key[Array, ""]
) -> Prompts:
    """Return the point or box that each mask is first prompted with, drawn as training draws it.

    This is the interaction of training stopped after its first round, with a decoder that says nothing; photo after
    photo, so that it takes the memory of one photo's masks.
    """
    first_round = dataclasses.replace(config, corrections=0, refinement=Refinement.NONE)
    drawn = [
        _play(
            jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], batch),
            jax.random.fold_in(key, b),
            image_size=image_size,
            config=first_round,
        )
        for b in range(len(batch.record_id))
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *drawn)


@functools.partial(jax.jit, static_argnames=("image_size", "config"))
def _play(batch: Batch, key: Key[Array, ""], *, image_size: tuple[int, int], config: InteractionConfig) -> Prompts:
    """Return the prompts after an interaction with a decoder that answers nothing."""
    masks = unpack_masks(batch.masks, image_size[1])
    silence = jnp.zeros((*masks.shape[:2], 4), jnp.float32)
    interaction = interact(
        lambda prompts, key: MaskOutput(logits=silence[..., None, None], iou=silence),
        lambda output, round_index: (),
        masks=masks,
        valid_size=batch.valid_size,
        logits_size=(1, 1),
        key=key,
        config=config,
    )
    return interaction.prompts


def draw_batch(batch: Batch, prompts: Prompts, *, title: str) -> UInt8[np.ndarray, "h w 3"]:
    """Return a row for every photo of `batch`: as the model sees it, with its masks, with its prompts.

    A mask has one colour in its row. Rows that hold no photo are left out.
    """
    batch, prompts = jax.device_get((batch, prompts))
    photos = [b for b in range(len(batch.record_id)) if batch.mask_valid[b].any()]
    frame_height, frame_width = batch.image.shape[1:3]
    scale = CELL / max(frame_height, frame_width)
    cell = (max(1, round(frame_height * scale)), max(1, round(frame_width * scale)))
    across, down = cell[1] + _GAP, cell[0] + _CAPTION + _GAP
    sheet = Image.new("RGB", (len(_COLUMNS) * across + _GAP, _HEADER + max(1, len(photos)) * down), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 12), title, fill=_INK, font=text_font(19))
    for column, heading in enumerate(_COLUMNS):
        draw.text((_GAP + column * across, _HEADER - 30), heading, fill=_INK, font=text_font(16))
    for row, b in enumerate(photos):
        height, width = (int(side) for side in batch.valid_size[b])
        count = int(batch.mask_valid[b].sum())
        top = _HEADER + row * down
        caption = (
            f"image {batch.record_id[b]}: {height} x {width} of the frame's {frame_height} x {frame_width}, "
            f"{count} mask{'s' if count > 1 else ''}"
        )
        draw.text((_GAP, top), caption, fill=_FAINT, font=text_font(14))
        for column, picture in enumerate(_pictures(batch, prompts, b, cell=cell)):
            place = (_GAP + column * across, top + _CAPTION - 4)
            sheet.paste(picture, place)
            draw.rectangle((place[0] - 1, place[1] - 1, place[0] + cell[1], place[1] + cell[0]), outline=_BORDER)
    return np.asarray(sheet)


def _pictures(batch: Batch, prompts: Prompts, b: int, *, cell: tuple[int, int]) -> Sequence[Image.Image]:
    """Return photo `b` of the batch as it is, with its masks, and with its prompts, each of `cell` = (h, w) pixels."""
    photo = Image.fromarray(np.asarray(batch.image[b])).resize((cell[1], cell[0]), Image.Resampling.BICUBIC)
    unpacked = np.unpackbits(np.asarray(batch.masks[b]), axis=-1, count=batch.image.shape[2]).astype(bool)
    slots = np.flatnonzero(batch.mask_valid[b]).tolist()
    masks = {slot: _shrink(unpacked[slot], cell) for slot in slots}
    colours = {slot: _colour(place) for place, slot in enumerate(slots)}
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
        red, green, blue = colours[slot]
        painted = outline(painted, masks[slot], (red // 2, green // 2, blue // 2))
    prompted = Image.fromarray(lined)
    for slot in largest_first:
        _draw_prompt(prompted, prompts, b, slot, scale=cell[1] / batch.image.shape[2], colour=colours[slot])
    return photo, Image.fromarray(painted), prompted


def _draw_prompt(
    picture: Image.Image, prompts: Prompts, b: int, slot: int, *, scale: float, colour: tuple[int, int, int]
) -> None:
    """Draw the first prompt of mask `slot`: a disc, or a box."""
    draw = ImageDraw.Draw(picture)
    coords, labels = np.asarray(prompts.coords[b, slot]) * scale, np.asarray(prompts.labels[b, slot])
    if labels[0] == PointLabel.BOX_MIN:
        (x0, y0), (x1, y1) = coords[:2].tolist()
        draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=(0, 0, 0))
        draw.rectangle((x0, y0, x1, y1), outline=colour, width=2)
    else:
        x, y = coords[0].tolist()
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=(0, 0, 0))
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(255, 255, 255))
        draw.ellipse((x - 3.5, y - 3.5, x + 3.5, y + 3.5), fill=colour)


def _shrink(mask: Bool[np.ndarray, "h w"], cell: tuple[int, int]) -> Bool[np.ndarray, "cell_h cell_w"]:
    """Return the mask at the cell's size: where at least half of a pixel is inside, or any of it for a tiny mask."""
    share = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((cell[1], cell[0]), Image.Resampling.BOX))
    inside = share >= 128
    return inside if inside.any() else share > 0


def _colour(place: int) -> tuple[int, int, int]:
    """Return a bright colour, far from those of the places before."""
    red, green, blue = colorsys.hsv_to_rgb(place * _TURN % 1, (0.85, 0.6, 0.95)[place % 3], (1.0, 0.95, 0.8)[place % 3])
    return round(255 * red), round(255 * green), round(255 * blue)
