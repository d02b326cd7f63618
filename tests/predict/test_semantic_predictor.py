"""Classes of photos of any size: windows, scales and mirrored photos against a plain restatement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.tiny_dense import save_dense, tiny_dense
from PIL import Image

from samjax.checkpoint.load import load_model
from samjax.core.errors import UserError
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.predict.semantic.dense_engine import DenseEngine
from samjax.predict.semantic.semantic_config import SemanticPredictionConfig, Windows
from samjax.predict.semantic.semantic_predictor import SemanticPredictor
from samjax.predict.semantic.window_plan import window_corners, window_starts

FRAME = 64


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_dense(tiny_dense(), tmp_path_factory.mktemp("dense") / "weights")


@pytest.fixture(scope="module")
def engine(checkpoint):
    return DenseEngine.from_checkpoint(checkpoint)


@pytest.fixture(scope="module")
def logits_of(checkpoint):
    """The model's logits for each pixel of one photo, without any of the predictor's machinery."""
    loaded = load_model(checkpoint, DenseConfig)
    run = jax.jit(lambda image, size: loaded.model.logits(image[None], size[None])[0])
    return lambda photo, size=None: np.asarray(
        run(jnp.asarray(photo), jnp.asarray(photo.shape[:2] if size is None else size, jnp.int32))
    )


@pytest.fixture(scope="module")
def photo():
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((150, 90), Image.Resampling.BICUBIC))


def scaled(photo, size):
    return np.asarray(Image.fromarray(photo).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def probabilities(logits, size):
    """Return them at the photo's size."""
    resized = jax.image.resize(logits, (*size, logits.shape[-1]), "linear", antialias=False)
    return np.asarray(jax.nn.softmax(resized, axis=-1))


def test_windows_are_there_once_and_reach_the_end():
    for side, window, stride in ((150, 64, 40), (64, 64, 20), (63, 64, 20), (129, 64, 64), (200, 50, 50)):
        starts = window_starts(side, window, stride)
        assert starts == sorted(set(starts))
        covered = np.zeros(side, int)
        for start in starts:
            covered[start : start + window] += 1
        assert (covered > 0).all()
        assert starts[-1] + window <= max(side, window)
    assert window_corners((150, 60), (64, 64), 43) == [(0, 0), (43, 0), (86, 0)]


def test_a_whole_photo_is_shown_at_multiples_of_32(engine, photo, logits_of):
    found = SemanticPredictor(engine).predict(photo)
    expected = probabilities(logits_of(scaled(photo, (64, 96))), photo.shape[:2])  # 64 x 106.7, rounded
    assert found.shape == photo.shape[:2]
    assert len(np.unique(found)) > 1
    assert (found == expected.argmax(-1)).mean() > 0.999  # two resizes in one matrix: rounding at ties


def test_sliding_windows_average_logits(engine, photo, logits_of):
    config = SemanticPredictionConfig(windows=Windows.SLIDING, stride=40, fit=(150, 90))
    total, covered = np.zeros((*photo.shape[:2], 3)), np.zeros((*photo.shape[:2], 1))
    for top in (0, 26):
        for left in (0, 40, 80, 86):
            part = (slice(top, top + FRAME), slice(left, left + FRAME))
            total[part] += logits_of(photo[part])
            covered[part] += 1
    found = SemanticPredictor(engine, config).predict(photo)
    assert (found == (total / covered).argmax(-1)).mean() > 0.999
    assert len(np.unique(found)) > 1


def test_a_photo_smaller_than_a_window_is_padded_and_its_padding_cut_off(engine, photo, logits_of):
    small = np.ascontiguousarray(photo[:40, :50])
    config = SemanticPredictionConfig(windows=Windows.SLIDING, fit=(50, 40))
    frame = np.zeros((FRAME, FRAME, 3), np.uint8)
    frame[:40, :50] = small
    expected = logits_of(frame, np.array([40, 50]))[:40, :50].argmax(-1)
    assert (SemanticPredictor(engine, config).predict(small) == expected).mean() > 0.999


def test_probabilities_are_averaged_over_scales_and_mirrored_photos(engine, photo, logits_of):
    config = SemanticPredictionConfig(scales=(1.0, 1.5), flip=True)
    total = 0
    for size in ((64, 96), (96, 160)):
        shown = scaled(photo, size)
        total = total + probabilities(logits_of(shown), photo.shape[:2])
        total = total + probabilities(logits_of(np.ascontiguousarray(shown[:, ::-1])), photo.shape[:2])[:, ::-1]
    found = SemanticPredictor(engine, config).predict(photo)
    assert (found == total.argmax(-1)).mean() > 0.999
    assert (found != SemanticPredictor(engine).predict(photo)).any()


def test_several_photos_are_each_as_alone(engine, photo):
    """Over eight devices, where those of one size are shown together."""
    predictor = SemanticPredictor(engine)
    photos = [photo, np.ascontiguousarray(photo[::-1]), np.ascontiguousarray(photo[:70, :70]), photo // 2]
    assert predictor.ways == 8
    for together, one in zip(predictor.predict_each(photos), photos, strict=True):
        np.testing.assert_array_equal(together, predictor.predict(one))


def test_a_model_with_tables_of_positions_slides(tmp_path, photo):
    encoder = PyramidConfig.pvt_tiny(widths=(4, 8, 10, 16), depths=(1, 1, 1, 1))
    path = save_dense(tiny_dense(encoder=encoder), tmp_path / "weights")
    own = DenseEngine.from_checkpoint(path)
    assert SemanticPredictor(own).predict(photo).shape == photo.shape[:2]
    with pytest.raises(UserError, match="give --windows sliding"):
        SemanticPredictor(own, SemanticPredictionConfig(windows=Windows.WHOLE))


def test_names_and_colours_are_the_models(tmp_path):
    named = tiny_dense(class_names=("a", "b", "c"), class_colours=((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    predictor = SemanticPredictor.from_checkpoint(save_dense(named, tmp_path / "weights"))
    assert (predictor.names, predictor.colours) == (named.class_names, named.class_colours)


def test_settings_that_say_nothing_are_refused():
    with pytest.raises(UserError, match="scales is empty"):
        SemanticPredictionConfig(scales=())
    with pytest.raises(UserError, match="give the longest side before the shortest"):
        SemanticPredictionConfig(fit=(10, 20))


def test_windows_that_leave_gaps_are_refused(engine):
    with pytest.raises(UserError, match="stride is 65, more than a window of 64 x 64"):
        SemanticPredictor(engine, SemanticPredictionConfig(stride=65))
