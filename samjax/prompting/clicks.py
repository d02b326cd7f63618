"""The annotator's clicks: positions and labels."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from samjax.core.batches import valid_pixels
from samjax.core.prompts import PointLabel, Prompts
from samjax.core.sizes import map_groups
from samjax.core.struct import struct
from samjax.prompting.center import region_center
from samjax.prompting.error_region import error_region, predicted_mask
from samjax.prompting.points import pixel_at, sample_point

# Full-resolution float copies of predictions exist for this many masks of each photo at once (at 1024 pixels 4 MB a
# mask), not for all of them.
MASKS_AT_ONCE = 8


@struct
class Click:
    """One click on each mask: (x, y) pixel indices and a `PointLabel`; `exists` False where nothing can be clicked."""

    coords: Float[Array, "b m 2"]
    labels: Int[Array, "b m"]
    exists: Bool[Array, "b m"]


def sample_correction(
    keys: Key[Array, "b m"],
    *,
    logits: Float[Array, "b m low_h low_w"],
    masks: Bool[Array, "b m h w"],
    valid_size: Int[Array, "b 2"],
) -> Click:
    """Click a uniformly drawn pixel of the error region (Segment Anything, appendix A).

    The label is FOREGROUND on a false negative and BACKGROUND on a false positive; padding is never clicked. A perfect
    prediction gets a FOREGROUND click on the mask itself.
    """
    size = (masks.shape[-2], masks.shape[-1])
    valid = valid_pixels(valid_size, size)[:, None]

    def click(keys, logits, truth):
        point = sample_point(keys, error_region(predicted_mask(logits, size), truth, valid))
        return Click(coords=point.coords, labels=_label(pixel_at(truth, point.coords)), exists=point.exists)

    return map_groups(click, keys, logits, masks, at_once=MASKS_AT_ONCE)


def central_correction(
    *,
    logits: Float[Array, "b m low_h low_w"],
    masks: Bool[Array, "b m h w"],
    valid_size: Int[Array, "b 2"],
) -> Click:
    """Click the centre of the largest error, as the zero-shot protocol does (Segment Anything, section 7.1).

    False negatives and false positives have separate distance transforms; the click goes to the larger maximum,
    BACKGROUND on a tie as in the released evaluations of interactive segmentation. A perfect prediction gets a
    FOREGROUND click at the centre of the mask.
    """
    size = (masks.shape[-2], masks.shape[-1])
    valid = valid_pixels(valid_size, size)[:, None]

    def click(logits, truth):
        region = error_region(predicted_mask(logits, size), truth, valid)
        missed, claimed = region_center(region & truth), region_center(region & ~truth)
        foreground = missed.squared_distance > claimed.squared_distance
        return Click(
            coords=jnp.where(foreground[..., None], missed.coords, claimed.coords),
            labels=_label(foreground),
            exists=jnp.maximum(missed.squared_distance, claimed.squared_distance) > 0,
        )

    return map_groups(click, logits, masks, at_once=MASKS_AT_ONCE)


def central_click(*, masks: Bool[Array, "b m h w"], valid_size: Int[Array, "b 2"]) -> Click:
    """Click the centre of each mask, FOREGROUND: the first click of the zero-shot protocol."""
    valid = valid_pixels(valid_size, (masks.shape[-2], masks.shape[-1]))[:, None]

    def click(truth):
        center = region_center(truth & valid)
        found = center.squared_distance > 0
        return Click(coords=center.coords, labels=_label(jnp.ones_like(found)), exists=found)

    return map_groups(click, masks, at_once=MASKS_AT_ONCE)


def add_click(prompts: Prompts, click: Click, *, slot: int | Int[Array, ""], where: Bool[Array, "b m"]) -> Prompts:
    """Return `prompts` with the click in its slot, for the masks of `where` that have something to click."""
    slots = jnp.arange(prompts.labels.shape[-1])
    here = (slots == slot) & (where & click.exists)[..., None]
    return Prompts(
        coords=jnp.where(here[..., None], click.coords[:, :, None], prompts.coords),
        labels=jnp.where(here, click.labels[..., None], prompts.labels),
        valid=prompts.valid | here,
        mask_logits=prompts.mask_logits,
        has_mask=prompts.has_mask,
    )


def _label(foreground: Bool[Array, "*n"]) -> Int[Array, "*n"]:
    return jnp.where(foreground, int(PointLabel.FOREGROUND), int(PointLabel.BACKGROUND)).astype(jnp.int32)
