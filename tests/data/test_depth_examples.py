"""Crops of photos with depth: the inverse depth is that of the pixels that the crop shows."""

import io

import numpy as np
import pytest
from PIL import Image

from samjax.data.depth_data import DepthDataConfig, DepthExamples
from samjax.data.records import depths
from samjax.data.records.depths import DepthKind
from samjax.data.stream.example import UnusableRecordError

LEVELS = np.array([40, 120, 200], np.uint8)
METRES = np.array([0.0, 2.0, 5.0], np.float32)
"""Each level's depth; of the first nobody knows it."""


def record_of(level: np.ndarray, kind: DepthKind = DepthKind.METRES) -> depths.Record:
    """Return the record of a photo whose grey tells the depth."""
    out = io.BytesIO()
    Image.fromarray(LEVELS[level]).convert("RGB").save(out, format="PNG")
    values = METRES[level] if kind is DepthKind.METRES else depths.inverse_depths(METRES[level])
    return depths.Record(
        image_id=4, file_name="a.png", height=level.shape[0], width=level.shape[1], jpeg=out.getvalue(),
        png=depths.encode_depths(values), scale=1.0, kind=kind,
    )  # fmt: skip


LEVEL = np.zeros((60, 90), np.int64)
LEVEL[:, 12:35], LEVEL[:, 48:75], LEVEL[40:, 20:60] = 1, 2, 0


def example(level=LEVEL, *, seed=0, frame=(48, 48), kind=DepthKind.METRES, augment=True, **changes):
    config = DepthDataConfig(**{"source": "x", "fit": (90, 60), "scale_jitter": (0.7, 1.6), **changes})
    maker = DepthExamples(config, image_size=frame, augment=augment)
    return maker.example(record_of(level, kind), np.random.default_rng(seed)).arrays


@pytest.mark.parametrize("flip", [0.0, 1.0], ids=["as it is", "mirrored"])
@pytest.mark.parametrize("seed", range(3))
def test_depth_is_of_the_pixels_that_the_crop_shows(seed, flip):
    """At any scale, mirrored or not; around the photo and where nobody knows it, it is 0."""
    arrays = example(seed=seed, flip_probability=flip)
    height, width = arrays["valid_size"]
    assert not arrays["inverse_depth"][height:].any()
    assert not arrays["inverse_depth"][:, width:].any()
    grey, inverse = arrays["image"][:height, :width, 0], arrays["inverse_depth"][:height, :width]
    assert set(np.unique(inverse)) <= {0.0, np.float32(0.5), np.float32(0.2)}
    pure = np.isin(grey, LEVELS)
    assert pure.mean() > 0.5
    expected = depths.inverse_depths(METRES)[np.searchsorted(LEVELS, grey[pure])]
    assert (inverse[pure] == expected).mean() > 0.95


def test_records_of_either_kind_give_one_example():
    metres, inverse = (example(seed=3, kind=kind) for kind in DepthKind)
    for name, array in metres.items():
        np.testing.assert_allclose(array, inverse[name], rtol=1e-6)


def test_a_crop_without_a_known_pixel_is_drawn_again():
    level = np.zeros((64, 64), np.int64)
    level[:8, :8] = 1
    shares = {}
    for tries in (1, 300):
        crops = [
            example(level, seed=seed, frame=(16, 16), fit=(64, 64), scale_jitter=(1.0, 1.0), crop_tries=tries)
            for seed in range(12)
        ]
        shares[tries] = np.mean([one["inverse_depth"].any() for one in crops])
    assert shares[300] == 1.0
    assert shares[1] < 0.8


def test_validation_sees_the_whole_photo():
    arrays = example(frame=(32, 32), augment=False)
    assert arrays["valid_size"].tolist() == [21, 32]
    assert np.unique(arrays["inverse_depth"][:21]).size == 3


def test_a_photo_without_a_known_depth_is_no_example():
    with pytest.raises(UnusableRecordError, match="no pixel has a known depth"):
        example(np.zeros((20, 20), np.int64))
