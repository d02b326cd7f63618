"""Laws of masked image pretraining: what its loss counts, what its validation reports and draws, where SAM begins."""

import dataclasses
import json

import einops
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from flax import nnx
from helpers.micro import micro_mae

from samjax.checkpoint.load import model_record
from samjax.checkpoint.weights import Weights
from samjax.cli.main import main
from samjax.core.batches import PhotoBatch
from samjax.core.errors import UserError
from samjax.core.tree import named_leaves, nest
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.data.photo_data import PhotoDataConfig
from samjax.models.mae import Mae, MaeConfig, Reconstruction
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.nn.init import Buffer
from samjax.nn.pixels import normalise
from samjax.nn.rngs import initial_rngs
from samjax.parallel.mesh import make_mesh
from samjax.parallel.sharding import batch_sharding, replicated
from samjax.tasks.masked_images import MaskedImageTraining
from samjax.tasks.promptable import PromptableTraining
from samjax.tasks.reconstruction import ReconstructionValidator, fill_in
from samjax.training.config import StepKeys, ValidationConfig
from samjax.training.start import starting_model

SMALL = micro_mae()


@pytest.fixture(scope="module")
def model():
    graph, state = jax.jit(lambda: nnx.split(SMALL.make(rngs=initial_rngs(0))))()
    return nnx.merge(graph, state)


@pytest.fixture(scope="module")
def objective():
    """The task's loss, its metrics and the gradient, compiled once."""

    @jax.jit
    def with_gradient(model, batch, keys):
        graph, params, rest = nnx.split(model, nnx.Param, ...)

        def loss(params):
            return run_of().objective(nnx.merge(graph, params, rest), batch, keys=keys)

        return jax.value_and_grad(loss, has_aux=True)(params)

    return with_gradient


def photos(count: int, *, seed: int = 0, empty: int = 0) -> PhotoBatch:
    """Return drawn photos, then rows of zeros that hold none."""
    image = np.random.default_rng(seed).integers(0, 256, (count, *SMALL.image_size, 3), np.uint8)
    ids = [*range(count), *[-1] * empty]
    return PhotoBatch(
        image=jnp.asarray(np.concatenate([image, np.zeros((empty, *image.shape[1:]), np.uint8)])),
        record_id=jnp.array(ids, jnp.int32),
    )


def run_of(**fields) -> MaskedImageTraining:
    return MaskedImageTraining(model=SMALL, data=PhotoDataConfig(source=""), **fields)


def keys(seed: int = 0) -> StepKeys:
    return StepKeys(model=jax.random.key(seed), task=jax.random.key(seed + 1))


def test_the_loss_is_the_hidden_patches_alone(model, objective):
    batch = photos(4)
    (loss, metrics), _ = objective(model, batch, keys())
    noise = jax.random.uniform(keys().task, (4, SMALL.tokens))
    output, targets = jax.jit(lambda model, image, noise: (model(image, noise), model.targets(image)))(
        model, batch.image, noise
    )
    assert output.hidden.sum() == 4 * (SMALL.tokens - SMALL.visible)
    error = np.square(np.asarray(output.predictions) - np.asarray(targets)).mean(axis=-1)
    assert float(loss) == pytest.approx(error[np.asarray(output.hidden)].mean(), rel=1e-5)
    assert metrics["loss"] == loss
    (other, _), _ = objective(model, batch, keys(7))
    assert float(other) != float(loss), "other patches are hidden at another step"


def test_rows_without_a_photo_weigh_nothing(model, objective):
    """Noise is drawn for every row, so the rows in front must see what they saw: compare with the same batch filled."""
    holes, filled = photos(2, empty=2), photos(4)
    filled = dataclasses.replace(filled, image=filled.image.at[:2].set(holes.image[:2]), record_id=holes.record_id)
    ((first, _), one), ((second, _), other) = (objective(model, batch, keys()) for batch in (holes, filled))
    np.testing.assert_allclose(first, second, rtol=1e-6)
    for got, expected in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("normalised", [True, False])
def test_a_perfect_prediction_is_drawn_as_the_photo(monkeypatch, normalised):
    """Its normalisation is undone with the true patch's own; what was shown stays in the last picture to the pixel."""
    config = dataclasses.replace(SMALL, normalise_targets=normalised)
    batch = photos(2)

    def predict(self, image, noise):
        return Reconstruction(predictions=self.targets(image), hidden=noise > 0.3)

    monkeypatch.setattr(Mae, "__call__", predict)
    noise = jnp.asarray(np.random.default_rng(1).random((2, SMALL.tokens)), jnp.float32)
    fill = jax.jit(lambda batch, noise: fill_in(config.make(rngs=initial_rngs(0)), batch, config, noise))
    filled = fill(batch, noise)
    np.testing.assert_array_equal(filled.reconstruction, batch.image)
    np.testing.assert_array_equal(filled.completed_photo, batch.image)
    np.testing.assert_allclose(filled.error, 0, atol=1e-6)
    shown = einops.rearrange(np.asarray(filled.visible), "b (h p) (w q) c -> b (h w) (p q c)", p=8, q=8)
    photo = einops.rearrange(np.asarray(batch.image), "b (h p) (w q) c -> b (h w) (p q c)", p=8, q=8)
    hidden = np.asarray(noise > 0.3)
    assert (np.abs(shown[hidden].astype(int) - 128) <= 1).all(), "hidden patches are grey"
    np.testing.assert_array_equal(shown[~hidden], photo[~hidden])


def test_validation_reports_the_mean_over_photos_and_draws_rows(model):
    """The same each time; rows that hold no photo are neither counted nor drawn."""
    graph, params, buffers = nnx.split(model, nnx.Param, Buffer)
    mesh = make_mesh(run_of().mesh, jax.devices()[:1])
    batches = [photos(4), photos(1, seed=3, empty=3)]
    validator = ReconstructionValidator(
        lambda params, buffers: nnx.merge(graph, params, buffers),
        SMALL,
        batches=lambda: batches,
        sheet_rows=5,
        replicated=replicated(mesh),
    )
    state = type("State", (), {"params": params, "buffers": buffers})
    row, pictures = validator(state, 0)
    assert row["photos"] == 5
    errors, fill = [], jax.jit(lambda model, batch, noise: fill_in(model, batch, SMALL, noise))
    for number, batch in enumerate(batches):
        noise = jax.random.uniform(jax.random.fold_in(jax.random.key(0), number), (4, SMALL.tokens))
        errors += np.asarray(fill(model, batch, noise).error)[np.asarray(batch.record_id) >= 0].tolist()
    assert row["loss"] == pytest.approx(np.mean(errors), rel=1e-5)
    again, _ = validator(state, 9)
    assert again == row
    assert list(pictures) == ["val_reconstruction"]
    validator._sheet_rows = 2
    tall, short = pictures["val_reconstruction"].shape[0], validator(state, 0)[1]["val_reconstruction"].shape[0]
    assert tall > 2 * short


def mae_weights(model, config=SMALL) -> Weights:
    params, buffers = (nnx.to_pure_dict(nnx.split(model, kind, ...)[1]) for kind in (nnx.Param, Buffer))
    plain = jax.tree.map(np.asarray, (params, buffers))
    return Weights(params=plain[0], buffers=plain[1], config=model_record(config), path=epath.Path("runs/mae"))


def sam_of(config: MaeConfig, **encoder) -> SamConfig:
    sizes = {name: getattr(config.encoder, name) for name in ("patch", "width", "depth", "heads")}
    return SamConfig(
        image_size=config.image_size,
        embedding=32,
        image_encoder=ImageEncoderConfig(**{**sizes, "global_every": 1, **encoder}),
        dtype="float32",
    )


def encoder_with(config, name, params):
    """Return the encoder of a model of `config`, with those of `params` that it has."""
    graph, own, rest = jax.jit(lambda: nnx.split(getattr(config.make(rngs=initial_rngs(1)), name), nnx.Param, ...))()
    given, own = named_leaves(params), named_leaves(nnx.to_pure_dict(own))
    return nnx.merge(graph, nest({path: given.get(path, leaf) for path, leaf in own.items()}), rest)


def test_an_encoder_of_global_blocks_gives_the_autoencoders_tokens(model):
    """Those it gives where its class token takes no part: SAM's encoder has none."""
    run = PromptableTraining(model=sam_of(SMALL), data=MaskDataConfig(source=""))
    begin = run.convert_weights(mae_weights(model), SMALL)
    assert set(begin.params) == {"image_encoder"}
    sam = encoder_with(run.model, "image_encoder", begin.params["image_encoder"])
    image = normalise(photos(2).image)
    ours, _ = jax.jit(lambda encoder, image: encoder.attend(encoder.embed(image)))(sam, image)

    bare = dataclasses.replace(SMALL, encoder=dataclasses.replace(SMALL.encoder, class_token=False, final_norm=False))
    mae = encoder_with(bare, "encoder", mae_weights(model).params["encoder"])
    theirs = jax.jit(lambda encoder, image: encoder.features(image).map)(mae, image)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_another_frame_and_windows_are_told(model):
    sam = dataclasses.replace(sam_of(SMALL, window=2, global_every=2), image_size=(64, 64))
    run = PromptableTraining(model=sam, data=MaskDataConfig(source=""))
    begin = run.convert_weights(mae_weights(model), SMALL)
    assert begin.notes, "a resized table is told"
    shapes = {name: leaf.shape for name, leaf in named_leaves(begin.params).items()}
    assert shapes["image_encoder/position"] == (8, 8, 16)


def test_weights_of_another_family_are_one_sentence(model):
    mae = mae_weights(model)
    sam = dataclasses.replace(mae, config=model_record(sam_of(SMALL)))
    with pytest.raises(UserError, match=r"init_from: runs/mae holds .*SamConfig.*needs .*MaeConfig"):
        starting_model(sam, run_of())
    wide = PromptableTraining(model=sam_of(SMALL, width=32), data=MaskDataConfig(source=""))
    with pytest.raises(UserError, match=r"holds an encoder whose width is 16, but this run's is 32"):
        wide.convert_weights(mae, SMALL)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, jpegs):
    """A run of two steps on a folder of photos, and its file."""
    folder = tmp_path_factory.mktemp("mae")
    (folder / "photos").mkdir()
    for number, photo in enumerate(jpegs[:6]):
        (folder / "photos" / f"{number}.jpg").write_bytes(photo)
    path = folder / "mine.py"
    path.write_text(
        "from test_masked_images import SMALL, run_of\n"
        "import dataclasses\n"
        "from samjax.data.photo_data import PhotoDataConfig\n"
        "from samjax.training.config import ValidationConfig\n"
        "def config():\n"
        f"    source = {str(folder / 'photos')!r}\n"
        "    validation = ValidationConfig(source=source, batch_size=8, every=2)\n"
        "    data = PhotoDataConfig(source=source)\n"
        "    run = dataclasses.replace(run_of(), data=data, validation=validation)\n"
        "    return dataclasses.replace(run, batch_size=8, steps=2, log_every=1)\n"
    )
    return path


@pytest.mark.slow
def test_a_folder_of_photos_trains(experiment, tmp_path, capsys):
    """Prepared, trained on, validated, drawn; the checkpoint says what it holds, and no other model takes it."""
    workdir = tmp_path / "run"
    assert main(["train", str(experiment), "--workdir", str(workdir)]) == 0
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row.get("split") == "val"] == [0, 2]
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert {path.name for path in (workdir / "samples").iterdir()} == {
        f"val_reconstruction_00000{step}.png" for step in (0, 2)
    }
    saved = json.loads((workdir / "config.json").read_text())
    assert (saved["task"], saved["model_class"]) == ("MaskedImageTraining", "MaeConfig")
    capsys.readouterr()
    photo = next((experiment.parent / "photos").iterdir())
    words = ["predict", "--checkpoint", workdir, "--image", photo, "--point", "4,4", "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds a masked autoencoder (MaeConfig)" in line
    assert "needs a Segment Anything model (SamConfig)" in line


def test_a_folder_without_photos_is_one_sentence(experiment, tmp_path, capsys):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("nothing")
    words = ["train", experiment, "--workdir", tmp_path / "run", "--data.source", tmp_path / "notes"]
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "notes") in line


def test_records_with_masks_serve_their_photos(prepared):
    run = dataclasses.replace(
        run_of(validation=ValidationConfig(source=str(prepared / "val"), batch_size=8, photos=10)),
        data=PhotoDataConfig(source=str(prepared / "train")),
        batch_size=4,
    )
    stream = run.stream()
    batch = next(stream)
    assert batch.image.shape == (4, 32, 48, 3)
    assert np.asarray(batch.image).std() > 10
    assert (np.asarray(batch.record_id) >= 0).all()
    assert stream.counts == {"records": 4, "corrupt": 0}
    stream.close()
    mesh = make_mesh(run.mesh, jax.devices()[:1])
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), run.abstract_batch(batch_sharding(mesh)))
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), batch)
    first, second = ([np.asarray(one.image) for one in run.validation_batches(mesh)] for _ in range(2))
    assert [len(images) for images in first] == [8, 8]
    np.testing.assert_array_equal(first, second)
