"""A batch in parts is the batch: the same loss, metrics and gradient, whatever the parts hold and on any mesh."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.micro import micro_mae, micro_run

from samjax.cli.main import main
from samjax.core.batches import Batch, PhotoBatch
from samjax.core.errors import UserError
from samjax.core.random import Rows, keys_of_masks
from samjax.core.tree import named_leaves
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.data.photo_data import PhotoDataConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks.masked_images import MaskedImageTraining
from samjax.training.accumulation import split_batch
from samjax.training.state import init_state, make_blueprint
from samjax.training.step import make_train_step

PHOTOS, SLOTS = 8, 2
ALL_AXES = MeshConfig(data=2, fsdp=2, tensor=2)


def promptable():
    """A run with dropout and drop path, so that a part would see other draws if its rows were numbered anew."""
    run = micro_run(
        "",
        data=MaskDataConfig(source="", max_masks=SLOTS),
        batch_size=PHOTOS,
        prompting=InteractionConfig(corrections=0, refinement=Refinement.LAST),
    )
    encoder = dataclasses.replace(run.model.image_encoder, drop_path=0.4)
    decoder = dataclasses.replace(run.model.mask_decoder, depth=1, dropout=0.1)
    return dataclasses.replace(run, model=dataclasses.replace(run.model, image_encoder=encoder, mask_decoder=decoder))


def masks() -> Batch:
    """Photos with 0, 1 or 2 masks: parts weigh differently."""
    draw = np.random.default_rng(0)
    valid = np.arange(SLOTS) < np.array([2, 0, 1, 2, 0, 0, 1, 1])[:, None]
    filled = np.zeros((PHOTOS, SLOTS, 64, 64), bool)
    for mask in filled.reshape(-1, 64, 64):
        y, x = draw.integers(0, 44, 2)
        mask[y : y + 20, x : x + 20] = True
    return Batch(
        image=jnp.asarray(draw.integers(0, 256, (PHOTOS, 64, 64, 3), dtype=np.uint8)),
        valid_size=jnp.full((PHOTOS, 2), 64),
        masks=jnp.asarray(np.packbits(filled & valid[..., None, None], axis=-1)),
        mask_valid=jnp.asarray(valid),
        record_id=jnp.arange(PHOTOS),
    )


def masked_images():
    return MaskedImageTraining(model=micro_mae(drop_path=0.4), data=PhotoDataConfig(source=""), batch_size=PHOTOS)


def photos() -> PhotoBatch:
    """Two rows without a photo, in one part."""
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (PHOTOS, 32, 48, 3), dtype=np.uint8)
    return PhotoBatch(image=jnp.asarray(image), record_id=jnp.array([0, 1, 2, 3, 4, 5, -1, -1]))


def step(config, batch, mesh: MeshConfig = MeshConfig(data=1), *, accumulate: int):  # noqa: B008
    """Return the metrics of a step, and the gradient by name: ten times the first moment."""
    config = dataclasses.replace(config, mesh=mesh, accumulate=accumulate)
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, clip_norm=0.0))
    devices = make_mesh(mesh, jax.devices()[:1] if mesh.data == 1 else None)
    blueprint = make_blueprint(config, devices)
    with jax.set_mesh(devices), pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.nn, "relu", jax.nn.softplus)  # which has no kink: see test_meshes.py
        state = init_state(blueprint, config, jax.random.key(0))
        placed = jax.device_put(batch, batch_sharding(devices))
        state, metrics = jax.jit(make_train_step(config, blueprint))(state, placed, jax.random.key(1))
    moments = {name: value for name, value in named_leaves(jax.device_get(state.opt_state)).items() if "/mu/" in name}
    assert moments
    return jax.device_get(metrics), moments


def assert_same(found, expected, *, tolerance: float = 1e-6) -> None:
    """Metrics to the tolerance; each parameter's gradient to it times the whole gradient's norm."""
    for name, value in expected[0].items():
        np.testing.assert_allclose(found[0][name], value, rtol=tolerance, err_msg=name)
    whole = np.linalg.norm([np.linalg.norm(value) for value in expected[1].values()])
    for name, value in expected[1].items():
        distance = np.linalg.norm(found[1][name] - value)
        assert distance <= tolerance * whole, (name, distance, whole)


@pytest.fixture(scope="module")
def whole_batch():
    return step(promptable(), masks(), accumulate=1)


@pytest.mark.slow
def test_a_batch_of_masks_in_parts_is_the_batch(whole_batch):
    """One part of the four has no mask at all."""
    assert_same(step(promptable(), masks(), accumulate=4), whole_batch)


@pytest.mark.slow
def test_a_batch_in_parts_over_devices_is_the_batch(whole_batch):
    assert_same(step(promptable(), masks(), ALL_AXES, accumulate=2), whole_batch, tolerance=1e-5)


def test_a_part_has_the_keys_and_the_weight_of_its_masks():
    """Of which the slow test above is made."""
    batch, key = masks(), jax.random.key(3)
    rows = Rows(indices=jnp.array([1, 5]), whole=PHOTOS)
    whole, part = keys_of_masks(key, PHOTOS, SLOTS), keys_of_masks(key, 2, SLOTS, rows=rows)
    np.testing.assert_array_equal(*(jax.random.key_data(keys) for keys in (part, whole[rows.indices])))
    parts = [jax.tree.map(lambda array, at=at: array[at : at + 2], batch) for at in range(0, PHOTOS, 2)]
    weights = [float(promptable().weight(one)) for one in parts]
    assert weights == [2, 3, 0, 2]
    assert sum(weights) == promptable().weight(batch)


def test_a_batch_of_photos_in_parts_is_the_batch():
    expected = step(masked_images(), photos(), accumulate=1)
    assert_same(step(masked_images(), photos(), accumulate=4), expected)


def test_a_part_lies_where_its_photos_lie():
    """Each device splits its own photos: nothing moves, and every photo is in one part."""
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    rows = jax.device_put(jnp.arange(16), batch_sharding(mesh))
    with jax.set_mesh(mesh):
        split = jax.jit(lambda rows: split_batch(rows, 2)).lower(rows).compile()
    assert not re.search("all-|collective", split.as_text() or "")
    parts = split(rows)
    np.testing.assert_array_equal(parts, [[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]])
    assert parts.sharding.shard_shape(parts.shape) == (2, 2)


@pytest.mark.parametrize(("mesh", "accumulate"), [((), 3), (("--mesh.data", "8"), 2)])
def test_parts_that_do_not_divide_the_batch(capsys, tmp_path, mesh, accumulate):
    run = ["train", "experiments/sam/smoke.py", "--workdir", str(tmp_path / "w"), "--dry-run", "--batch-size", "8"]
    mesh = mesh or ("--mesh.data", "1", "--mesh.fsdp", "1", "--mesh.tensor", "8")
    assert main([*run, "--accumulate", str(accumulate), *mesh]) == 2
    assert f"accumulate is {accumulate}, but batch_size is 8" in capsys.readouterr().err


def test_a_part_of_nothing_is_refused():
    with pytest.raises(UserError, match="accumulate is 0; it must be at least 1"):
        dataclasses.replace(masked_images(), accumulate=0)
