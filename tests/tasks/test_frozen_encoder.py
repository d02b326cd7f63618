"""An image encoder that does not train: an embedding depends on the photo and the weights alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.micro import drawn_micro, micro_model, micro_run

from samjax.core.batches import Batch
from samjax.core.errors import UserError
from samjax.models.sam.sam import Sam
from samjax.nn.adapters import AdaptersConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.tasks.frozen_encoder import frozen_embedding, what_trains
from samjax.training.config import StepKeys

DECODER = ("mask_decoder/**", "prompt_encoder/**")


@pytest.fixture(scope="module")
def photos():
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    return jnp.asarray(image), jnp.asarray(np.stack([np.arange(64, 56, -1), np.full(8, 64)], axis=1), jnp.int32)


@pytest.fixture(scope="module")
def encode():
    graph, state = nnx.split(drawn_micro())
    frozen = jax.jit(lambda state, *photos: frozen_embedding(nnx.merge(graph, state), *photos))
    plain = jax.jit(lambda state, *photos: nnx.merge(graph, state).encode(*photos))
    return lambda *photos: frozen(state, *photos), lambda *photos: plain(state, *photos)


@pytest.fixture(scope="module")
def alone(encode, photos):
    """Each photo's embedding by itself."""
    return np.concatenate([encode[0](*(array[i : i + 1] for array in photos)) for i in range(8)])


def test_an_embedding_does_not_depend_on_the_photos_beside_it(encode, photos, alone):
    np.testing.assert_array_equal(encode[0](*photos), alone)
    np.testing.assert_array_equal(encode[0](*(array[5:1:-1] for array in photos)), alone[5:1:-1])
    np.testing.assert_allclose(encode[1](*photos), alone, rtol=1e-4, atol=1e-5)


def test_nor_on_the_devices(encode, photos, alone):
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))
    with jax.set_mesh(mesh):
        found = encode[0](*jax.device_put(photos, batch_sharding(mesh)))
    np.testing.assert_array_equal(found, alone)
    assert found.sharding.shard_shape(found.shape)[0] == 1


@pytest.mark.parametrize(
    ("trainable", "adapters", "name"),
    [
        (DECODER, AdaptersConfig(rank=2, kernels=("mask_decoder/**/kernel",)), ""),
        (("**",), AdaptersConfig(), "trainable '**' trains image_encoder/groups/"),
        ((*DECODER, "image_encoder/neck/norm2/*"), AdaptersConfig(), "trains image_encoder/neck/norm2/bias"),
        (DECODER, AdaptersConfig(rank=2), "adapters.rank 2 adapts image_encoder/groups/"),
    ],
)
def test_what_trains_in_the_encoder(trainable, adapters, name):
    said = what_trains(micro_model(), trainable, adapters)
    assert name in said
    assert bool(name) == bool(said)


def test_a_pattern_that_matches_nothing_is_an_error_here_too():
    with pytest.raises(UserError, match="trainable: 'decoder/\\*' matches no parameter"):
        what_trains(micro_model(), ("decoder/*",), AdaptersConfig())


@pytest.mark.parametrize(("trainable", "noise"), [(DECODER, False), (("**",), True)])
def test_drop_path_is_for_an_encoder_that_trains(photos, trainable, noise):
    batch = Batch(
        image=photos[0],
        valid_size=photos[1],
        masks=jnp.zeros((8, 1, 64, 8), jnp.uint8),
        mask_valid=jnp.ones((8, 1), bool),
        record_id=jnp.arange(8),
    )
    keys, calls = StepKeys(model=jax.random.key(0), task=jax.random.key(1)), []

    class Watched(Sam):
        def __init__(self):
            pass

        def encode(self, image, valid_size, **noise):
            calls.append(noise)
            return jnp.zeros((len(image), 4, 4, 32))

    assert micro_run("", trainable=trainable).embed(Watched(), batch, keys=keys).shape == (8, 4, 4, 32)
    assert all((one.get("key") is keys.model) == noise for one in calls)
