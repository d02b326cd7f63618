import colorsys
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.prompts import PointLabel
from samjax.data.stream.example import DataConfig
from samjax.data.stream.loader import train_stream
from samjax.eval import batch_sheet
from samjax.eval.batch_sheet import draw_batch, first_prompts
from samjax.prompting.interactive import InteractionConfig

FRAME = (240, 480)  # as wide as a cell: photos come through unscaled


@pytest.fixture(scope="module")
def batch():
    """Three photos, the last narrower than the frame, and an empty row."""
    stream = train_stream(
        DataConfig(source="synthetic:photos=3,size=120,masks=12,seed=5", max_masks=10),
        image_size=FRAME,
        batch_size=4,
        seed=0,
    )
    drawn = next(stream)
    stream.close()
    keep = jnp.array([True, True, True, False])
    return dataclasses.replace(
        drawn,
        mask_valid=drawn.mask_valid & keep[:, None],
        masks=drawn.masks * keep[:, None, None, None],
        record_id=jnp.where(keep, drawn.record_id, -1),
    )


def masks_of(batch):
    return np.unpackbits(np.asarray(batch.masks), axis=-1, count=FRAME[1]).astype(bool)


def prompts_of(batch, seed=0, **config):
    key = jax.random.key(seed)
    return jax.device_get(first_prompts(batch, image_size=FRAME, config=InteractionConfig(**config), key=key))


def test_points_lie_on_their_masks(batch):
    prompts, masks = prompts_of(batch, point_probability=1.0), masks_of(batch)
    for b, m in np.argwhere(batch.mask_valid).tolist():
        assert prompts.labels[b, m].tolist() == [PointLabel.FOREGROUND, PointLabel.NOT_A_POINT]
        x, y = np.asarray(prompts.coords[b, m, 0]).astype(int)
        assert masks[b, m, y, x]


def test_boxes_follow_the_annotator_of_the_experiment(batch):
    exact, masks = prompts_of(batch, point_probability=0.0, box_noise_std=0.0), masks_of(batch)
    noisy = prompts_of(batch, point_probability=0.0, box_noise_std=0.5, box_noise_max=3.0)
    moves = []
    for b, m in np.argwhere(batch.mask_valid).tolist():
        assert exact.labels[b, m].tolist() == [PointLabel.BOX_MIN, PointLabel.BOX_MAX]
        rows, columns = np.nonzero(masks[b, m].any(axis=1))[0], np.nonzero(masks[b, m].any(axis=0))[0]
        box = [[columns[0], rows[0]], [columns[-1], rows[-1]]]
        np.testing.assert_array_equal(exact.coords[b, m], box)
        moves.append(np.abs(np.asarray(noisy.coords[b, m]) - box).max())
    assert 1 < max(moves) <= 3


def test_photos_do_not_share_their_draws(batch):
    """Photo b's key is its own, and so is another seed's."""
    same = dataclasses.replace(
        batch,
        **{
            name: jnp.repeat(getattr(batch, name)[:1], 4, axis=0)
            for name in ("image", "valid_size", "masks", "mask_valid")
        },
    )
    first, again, other = prompts_of(same), prompts_of(same), prompts_of(same, seed=1)
    np.testing.assert_array_equal(first.coords, again.coords)
    assert not np.array_equal(first.coords[0], first.coords[1])
    assert not np.array_equal(first.coords, other.coords)


def cells(sheet, row):
    """The three pictures of a row."""
    down = FRAME[0] + batch_sheet._CAPTION + batch_sheet._GAP
    top = batch_sheet._HEADER + row * down + batch_sheet._CAPTION - 4
    lefts = [batch_sheet._GAP + column * (FRAME[1] + batch_sheet._GAP) for column in range(3)]
    return [sheet[top : top + FRAME[0], left : left + FRAME[1]] for left in lefts]


def test_a_row_shows_the_models_own_pixels_and_every_mask_in_its_colour(batch):
    sheet = draw_batch(batch, prompts_of(batch), title="a batch")
    masks = masks_of(batch)
    assert sheet.shape[0] == batch_sheet._HEADER + 3 * (FRAME[0] + batch_sheet._CAPTION + batch_sheet._GAP), (
        "3 rows: one is empty"
    )
    nested = 0
    for b in range(3):
        photo, painted, prompted = cells(sheet, b)
        np.testing.assert_array_equal(photo, batch.image[b])
        height, width = batch.valid_size[b]
        assert not painted[height:].any()
        assert not painted[:, width:].any()
        free = ~masks[b].any(axis=0)
        assert (np.ptp(painted[free], axis=-1) == 0).all(), "no colour where there is no mask"
        shown = 0
        areas = masks[b].sum(axis=(1, 2))
        smallest = np.where(masks[b], areas[:, None, None], areas.max() + 1).argmin(axis=0)
        for m in np.flatnonzero(batch.mask_valid[b]):
            on_top = masks[b, m] & (smallest == m)
            if on_top.sum() > 100:
                hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in painted[on_top][::10] / 255]
                wanted = colorsys.rgb_to_hsv(*(np.array(batch_sheet._colour(int(m))) / 255))[0]
                assert np.median(np.abs(np.array(hues) - wanted)) < 0.02
                shown += 1
        assert shown >= 4
        nested += int((masks[b].sum(axis=0) > 1).any())
        assert (prompted != painted).any()
    assert nested, "parts are drawn over their wholes"


def test_colours_of_a_full_row_differ():
    colours = np.array([batch_sheet._colour(place) for place in range(64)], float)
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 999 * np.eye(64)
    assert apart.min() > 8
    assert np.diagonal(apart, 1).min() > 90, "neighbours are far apart"
