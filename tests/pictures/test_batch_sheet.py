import colorsys

import numpy as np
import pytest
from helpers.framed_photos import FRAME, four_rows, masks_of, prompts_of

from samjax.pictures.batch_sheet import batch_grid
from samjax.pictures.canvas import GAP
from samjax.pictures.colours import mask_colour


@pytest.fixture(scope="module")
def batch():
    return four_rows()


def cells(sheet, layout, row):
    """The three pictures of a row."""
    top = layout.pictures[row]
    return [sheet[top : top + FRAME[0], left : left + FRAME[1]] for left in layout.lefts]


def test_a_row_shows_the_models_own_pixels_and_every_mask_in_its_colour(batch):
    grid = batch_grid(batch, prompts_of(batch), title="a batch")
    sheet, layout = grid.draw(), grid.layout()
    masks = masks_of(batch)
    assert len(grid.rows) == len(layout.pictures) == 3, "one of the four is empty"
    assert sheet.shape == (layout.pictures[-1] + FRAME[0] + GAP, 3 * (FRAME[1] + GAP) + GAP, 3)
    nested = 0
    for b in range(3):
        photo, painted, prompted = cells(sheet, layout, b)
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
                wanted = colorsys.rgb_to_hsv(*(np.array(mask_colour(int(m))) / 255))[0]
                assert np.median(np.abs(np.array(hues) - wanted)) < 0.02
                shown += 1
        assert shown >= 4
        nested += int((masks[b].sum(axis=0) > 1).any())
        assert (prompted != painted).any()
    assert nested, "parts are drawn over their wholes"
