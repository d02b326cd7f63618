"""From a checkpoint to a saved mask, as the server does it: with a process that encodes beside it."""

import asyncio
import shutil

import jax
import numpy as np
import pytest
from flax import nnx
from helpers.micro import drawn_micro, micro_model
from micro_annotator import MicroPhotos

from samjax.annotate.embedding_store import EmbeddingStoreConfig, default_folder
from samjax.annotate.prompt_request import PromptRequest
from samjax.annotate.served_model import load_served_model
from samjax.checkpoint.load import model_record
from samjax.checkpoint.weights import save_weights
from samjax.core.errors import UserError
from samjax.data.masks import rle
from samjax.data.photo import read_photo
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.predict.promptable.predictor import Predictor

# See tests/checkpoint/test_checkpoints.py.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("leftovers_collected"),
]

PHOTOS = MicroPhotos()
CLICK = PromptRequest(annotator="ann", points=((20.0, 9.0),), labels=(1,))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return a function that writes a checkpoint of the micro model drawn from a seed."""
    folder = tmp_path_factory.mktemp("weights")

    def write(seed):
        path = folder / str(seed)
        if not path.exists():
            _, params, buffers = nnx.split(drawn_micro(seed), nnx.Param, ...)
            arrays = jax.device_get((nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)))
            save_weights(path, params=arrays[0], buffers=arrays[1], config=model_record(micro_model()))
        return path

    return write


def load(path, cache, **options):
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    return load_served_model(path, cache=cache, mesh=mesh, embeddings=EmbeddingStoreConfig(gigabytes=0.01), **options)


def test_a_click_is_answered_from_a_checkpoint(checkpoint, tmp_path):
    """The photo is encoded by the process, and the saved mask is `samjax predict`'s bit for bit."""
    model = load(checkpoint(0), tmp_path)
    masks = model.prompted_masks(PHOTOS)

    async def act():
        found = await masks.predict(2, CLICK)
        return found, [await masks.exact_mask(one.handle, photo_id=2) for one in found.candidates]

    try:
        found, saved = asyncio.run(act())
    finally:
        masks.close()
    assert masks.status().new == 1
    predictor = Predictor.from_checkpoint(checkpoint(0), mesh=model.engine.mesh)
    predictor.set_image(read_photo(PHOTOS.jpeg(2)))
    expected = predictor.predict(points=[[[20, 9]]], labels=[[1]])
    order = np.argsort(-expected.iou[0])
    for place, one in zip(order, saved, strict=True):
        assert one.runs == rle.encode(expected.masks[0, place])
        assert one.iou == expected.iou[0, place]
    assert [one.iou for one in found.candidates] == [one.iou for one in saved]


def test_a_model_is_described_as_the_page_needs_it(checkpoint, tmp_path):
    models = [load(checkpoint(seed), tmp_path) for seed in (0, 1, 0)]
    first, other, again = (model.describe() for model in models)
    assert first == {"name": str(checkpoint(0)), "digest": first["digest"], "frame": [64, 64], "logits": [16, 16]}
    assert first["digest"] == again["digest"] != other["digest"]
    assert len(first["digest"]) == 64
    jpeg = PHOTOS.jpeg(2)
    key = models[0].store.key(jpeg)
    models[0].store.write(key, np.zeros(models[0].store.shape, np.float32))
    assert [model.store.holds(key) for model in models] == [True, False, True]


def test_a_run_that_goes_on_changes_nothing(checkpoint, tmp_path):
    """The newest checkpoint of a workdir is pinned when the server starts."""
    workdir = tmp_path / "run"
    shutil.copytree(checkpoint(0), workdir / "checkpoints" / "10")
    model = load(workdir, tmp_path / "cache")
    shutil.copytree(checkpoint(1), workdir / "checkpoints" / "20")
    assert model.name == str(workdir)
    assert model.checkpoint == str(workdir / "checkpoints" / "10")
    assert load(model.checkpoint, tmp_path / "cache").digest == model.digest
    assert load(workdir, tmp_path / "cache").digest != model.digest


def test_what_is_no_checkpoint_is_refused_before_a_cache_is_made(tmp_path):
    with pytest.raises(UserError, match="no checkpoint in it"):
        load(tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_default_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "samjax" / "embeddings"
