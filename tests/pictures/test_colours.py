import numpy as np

from samjax.pictures.colours import SERIES, as_hex, mask_colour, mix


def test_colours_of_a_full_row_differ():
    colours = np.array([mask_colour(place) for place in range(64)], float)
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 999 * np.eye(64)
    assert apart.min() > 8
    assert np.diagonal(apart, 1).min() > 90, "neighbours are far apart"


def test_a_mix_runs_from_one_colour_to_the_other():
    assert mix((10, 20, 30), (200, 100, 0), 0.0) == (10, 20, 30)
    assert mix((10, 20, 30), (200, 100, 0), 1.0) == (200, 100, 0)
    assert mix((0, 0, 100), (100, 0, 0), 0.25) == (25, 0, 75)


def test_plots_take_the_same_colours():
    assert as_hex((31, 111, 5)) == "#1f6f05"
    assert len({as_hex(colour) for colour in SERIES}) == len(SERIES)
