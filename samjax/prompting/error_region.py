"""Where a prediction is wrong: the region of the annotator's next click."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32


def predicted_mask(logits: Float[Array, "*n low_h low_w"], size: tuple[int, int]) -> Bool[Array, "*n h w"]:
    """Return where low-resolution logits, brought bilinearly to `size` = (h, w) pixels, are positive."""
    return upscale(logits, size) > 0


def error_region(
    prediction: Bool[Array, "*n h w"], truth: Bool[Array, "*n h w"], valid: Bool[Array, "*#n h w"]
) -> Bool[Array, "*n h w"]:
    """Return the pixels a correcting click may fall on, never outside `valid` (the photo's pixels).

    These are the wrongly predicted pixels. A perfect prediction has none, so the mask's own pixels take their place:
    the click then repeats what is known (foreground) instead of adding a random background point. Either way the
    click's label is the ground truth at its pixel.
    """
    wrong = (prediction != truth) & valid
    perfect = ~jnp.any(wrong, axis=(-2, -1), keepdims=True)
    return jnp.where(perfect, truth & valid, wrong)


def upscale(logits: Float[Array, "*n low_h low_w"], size: tuple[int, int]) -> Float32[Array, "*n h w"]:
    """Resize bilinearly to `size` = (h, w), pixel centres aligned as torch's `align_corners=False`, no antialiasing.

    `jax.image.resize` multiplies by dense matrices. From 256 to 1024 pixels that is 0.67 GFLOP a mask and
    nearly all of it is the second axis: rows, which come last, are blended from their two neighbours instead.

    Two other places enlarge logits differently. `predict.promptable.restore` merges this step with the one from the
    frame to the photo's own pixels. `losses.sam_loss` mostly has nothing to enlarge and calls `jax.image.resize`: this
    function rounds differently, which would change the losses of resumed runs.
    """
    *lead, low_height, _ = logits.shape
    height, width = size
    logits = jax.image.resize(
        logits.astype(jnp.float32), (*lead, low_height, width), jax.image.ResizeMethod.LINEAR, antialias=False
    )
    if height % low_height:
        return jax.image.resize(logits, (*lead, height, width), jax.image.ResizeMethod.LINEAR, antialias=False)
    factor = height // low_height
    above = jnp.concatenate([logits[..., :1, :], logits[..., :-1, :]], axis=-2)
    below = jnp.concatenate([logits[..., 1:, :], logits[..., -1:, :]], axis=-2)
    rows = []
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5  # of the output row's centre from the input row's, in input rows
        neighbour = above if offset < 0 else below
        rows.append((1 - abs(offset)) * logits + abs(offset) * neighbour)
    return jnp.stack(rows, axis=-2).reshape(*lead, height, width)
