"""Depth of photos of any size, and what `samjax segment` writes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from helpers.tiny_dense import save_dense, tiny_dense, tiny_depth
from PIL import Image

from samjax.checkpoint.load import load_model
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.interpolate import Method, interpolate
from samjax.predict.semantic.depth_predictor import DepthPredictor, sixteen_bits
from samjax.predict.semantic.semantic_predictor import SemanticPredictor


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_dense(tiny_depth(), tmp_path_factory.mktemp("dpt") / "weights")


@pytest.fixture(scope="module")
def photo():
    coarse = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((100, 70), Image.Resampling.BICUBIC))


def test_the_side_that_changes_less_is_brought_to_the_frame(checkpoint, photo):
    """70 x 100 becomes 64 x 96, not 32 x 64."""
    loaded = load_model(checkpoint, DenseConfig)
    picture = jnp.asarray(photo, jnp.float32)[None]
    shown = jnp.clip(jnp.round(interpolate(picture, (64, 96), method=Method.BICUBIC)), 0, 255).astype(jnp.uint8)
    logits = jax.jit(loaded.model.logits)(shown)
    expected = interpolate(logits, (70, 100), method=Method.BICUBIC)[0, ..., 0]
    found = DepthPredictor.from_checkpoint(checkpoint).predict(photo)
    assert found.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * float(np.abs(expected).max()))


def test_sixteen_bits_keep_the_order_of_depths():
    depth = np.random.default_rng(0).normal(size=(6, 7)).astype(np.float32)
    stored = sixteen_bits(depth)
    assert (stored.min(), stored.max()) == (0, 65_535)
    np.testing.assert_array_equal(scipy.stats.rankdata(stored), scipy.stats.rankdata(depth))
    assert not sixteen_bits(np.full((2, 3), 4.0, np.float32)).any()


def test_segment_writes_depth(checkpoint, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a.png")
    given = ("--checkpoint", checkpoint, "--images", tmp_path / "*.png", "--out", tmp_path / "out")
    assert main(["segment", *map(str, given)]) == 0
    with Image.open(tmp_path / "out" / "labels" / "a.png") as picture:
        expected = sixteen_bits(DepthPredictor.from_checkpoint(checkpoint).predict(photo))
        np.testing.assert_array_equal(np.asarray(picture).astype(np.uint16), expected)
    with Image.open(tmp_path / "out" / "overlays" / "a.png") as picture:
        assert picture.size == (200, 70)


def test_classes_of_a_model_for_depth_and_depth_of_one_for_classes_are_refused(checkpoint, tmp_path):
    with pytest.raises(UserError, match="this model gives depth, not classes"):
        SemanticPredictor.from_checkpoint(checkpoint)
    with pytest.raises(UserError, match="this model gives classes, not depth"):
        DepthPredictor.from_checkpoint(save_dense(tiny_dense(), tmp_path / "weights"))
