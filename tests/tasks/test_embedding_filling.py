"""A run with a cache of embeddings is the run without one, bit for bit, and encodes each photo once."""

import dataclasses
import itertools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.compiled_steps import share
from helpers.micro import micro_run

from samjax.api import dry_run
from samjax.cli.main import main
from samjax.core.errors import MachineError, UserError
from samjax.core.tree import named_leaves
from samjax.data import photo_frames
from samjax.data.embedding_cache import EmbeddingCache
from samjax.data.photo import PhotoError
from samjax.data.stream.data_config import MixedSourceConfig
from samjax.nn.adapters import AdaptersConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.plan.hlo import parse
from samjax.plan.hlo_cost import work
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks import embedding_filling
from samjax.tasks.promptable import ClickValidationConfig
from samjax.training.loop import train
from samjax.training.start import Beginning
from samjax.training.state import make_blueprint
from samjax.training.step import lower_train_step

DECODER = ("mask_decoder/**", "prompt_encoder/**")
PHOTOS, HELD_OUT = 4, 3


@pytest.fixture(scope="module", autouse=True)
def programs_shared():
    with pytest.MonkeyPatch.context() as patch:
        share(patch)
        yield


@pytest.fixture(scope="module")
def plain():
    """Four steps over four photos, one prompt each, that train the decoder."""
    run = micro_run(
        f"synthetic:photos={PHOTOS},size=64",
        trainable=DECODER,
        prompting=InteractionConfig(corrections=0, refinement=Refinement.LAST),
        steps=4,
    )
    decoder = dataclasses.replace(run.model.mask_decoder, depth=1)
    return dataclasses.replace(run, model=dataclasses.replace(run.model, mask_decoder=decoder))


def run(config, workdir, devices: int = 1):
    """Train; return the state and the rows of metrics without what depends on the clock."""
    mesh = make_mesh(config.mesh, jax.devices()[:devices])
    stream = config.stream(sharding=batch_sharding(mesh))
    try:
        state = jax.device_get(train(config, workdir=workdir, mesh=mesh, stream=stream))
    finally:
        stream.close()
    rows = [json.loads(line) for line in (Path(workdir) / "metrics.jsonl").read_text().splitlines()]
    clock = re.compile("_s$|goodput")
    return state, [{name: value for name, value in row.items() if not clock.search(name)} for row in rows]


def assert_equal(found, expected):
    assert found[1] == expected[1]
    leaves = named_leaves(expected[0])
    assert named_leaves(found[0]).keys() == leaves.keys()
    for name, leaf in named_leaves(found[0]).items():
        np.testing.assert_array_equal(leaf, leaves[name], err_msg=name)


def cached(config, folder):
    return dataclasses.replace(config, cache_embeddings=str(folder))


@pytest.fixture(scope="module")
def expected(plain, tmp_path_factory):
    return run(plain, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def trained(plain, tmp_path_factory):
    """A cache that a run has filled, and what the run came to."""
    folder = tmp_path_factory.mktemp("trained")
    return folder / "cache", run(cached(plain, folder / "cache"), folder / "run")


@pytest.mark.slow
def test_a_run_is_the_same_bit_for_bit(trained, expected):
    assert_equal(trained[1], expected)


@pytest.mark.slow
def test_the_next_run_encodes_nothing_and_resumes_bit_for_bit(plain, trained, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(EmbeddingCache, "write", None)
    config = cached(plain, trained[0])
    run(dataclasses.replace(config, steps=2), tmp_path)
    assert f"cache holds the embeddings of all {PHOTOS} photos" in capsys.readouterr().out
    assert_equal(run(config, tmp_path), expected)


@pytest.mark.slow
def test_a_damaged_file_ends_the_run_and_is_named(plain, trained, tmp_path):
    path = sorted(trained[0].glob("*/*.npy"))[0]
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    try:
        with pytest.raises(MachineError, match=rf"{path.name} is damaged"):
            run(cached(plain, trained[0]), tmp_path)
    finally:
        path.write_bytes(data)


def constant_state(blueprint, weight):
    return jax.tree.map(lambda leaf: np.full(leaf.shape, weight, leaf.dtype), blueprint.shapes)


@pytest.fixture(scope="module")
def blueprint(plain):
    return make_blueprint(plain, make_mesh(plain.mesh, jax.devices()[:1]))


@pytest.fixture(scope="module")
def fill(plain, blueprint):
    """Takes a folder, and a number that stands for weights; fills the folder and returns what it says."""
    mesh = make_mesh(plain.mesh, jax.devices()[:1])
    program = embedding_filling.encoder_program(blueprint.model, mesh)  # traced once

    def fill(folder, weight=0.01, *, is_stopping=lambda: False, data=plain.data):
        state = constant_state(blueprint, weight)
        said = []
        config = dataclasses.replace(cached(plain, folder), data=data)
        with jax.set_mesh(mesh), pytest.MonkeyPatch.context() as patch:
            patch.setattr(embedding_filling, "encoder_program", lambda *_: program)
            config.caches().fill(blueprint.model, state, mesh, say=said.append, is_stopping=is_stopping)
        return said

    return fill


def files(folder) -> dict[Path, tuple[bytes, int]]:
    """Return what the embeddings in a cache hold, and when they were written."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.glob("*/*.npy"))}


def test_photos_that_are_missing_are_encoded_and_no_others(fill, tmp_path):
    assert fill(tmp_path) == [
        f"{tmp_path} holds the embeddings of 0 of {PHOTOS} photos; encoding the other {PHOTOS}, 0.0 MB"
    ]
    first = files(tmp_path)
    assert len(first) == PHOTOS
    assert fill(tmp_path) == [f"{tmp_path} holds the embeddings of all {PHOTOS} photos"]
    assert files(tmp_path) == first
    for path in list(first)[:2]:
        path.unlink()
    assert "of 2 of 4 photos; encoding the other 2" in fill(tmp_path)[0]
    again = files(tmp_path)
    assert {path: data for path, (data, _) in again.items()} == {path: data for path, (data, _) in first.items()}
    assert [path for path in first if again[path] == first[path]] == list(first)[2:]


def test_batches_hold_what_the_step_would_encode(fill, plain, blueprint, tmp_path):
    """In the order of an uncached run, bit for bit: of this the slow tests of whole runs are made."""
    fill(tmp_path)
    state = constant_state(blueprint, 0.01)

    @jax.jit
    def embed(params, buffers, batch):
        """As in a step, which goes on with them."""
        embedding = plain.embed(blueprint.model(params, buffers), batch)
        return embedding, jnp.tanh(3 * embedding + 1).sum()

    whole, batches = plain.stream(), cached(plain, tmp_path).stream()
    for _ in range(3):
        one, other = next(whole), next(batches)
        assert other.image is None
        np.testing.assert_array_equal(embed(state.params, state.buffers, one)[0], other.embedding)
        for name in ("valid_size", "masks", "mask_valid", "record_id"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert whole.get_state() == batches.get_state()
    whole.close()
    batches.close()


def test_a_photo_that_is_there_twice_is_encoded_once(fill, plain, tmp_path):
    twice = dataclasses.replace(plain.data, mixed_in=(MixedSourceConfig(source=plain.data.source),))
    assert f"encoding the other {PHOTOS}," in fill(tmp_path, data=twice)[0]


def test_a_photo_that_cannot_be_decoded_is_left_to_the_stream(fill, tmp_path, monkeypatch):
    framed, count = photo_frames.frame_photo, itertools.count()

    def fail_once(*arguments, **rest):
        if next(count) == 1:
            raise PhotoError("broken")
        return framed(*arguments, **rest)

    monkeypatch.setattr(photo_frames, "frame_photo", fail_once)
    assert fill(tmp_path)[-1] == "1 of them cannot be decoded and have no embedding"
    assert len(files(tmp_path)) == PHOTOS - 1


def test_a_signal_ends_the_filling_and_what_is_encoded_stays(fill, tmp_path):
    fill(tmp_path, is_stopping=lambda: True)
    assert len(files(tmp_path)) == 1
    assert "of 1 of 4 photos; encoding the other 3" in fill(tmp_path)[0]


def test_other_weights_are_refused(fill, tmp_path):
    fill(tmp_path)
    first = files(tmp_path)
    with pytest.raises(UserError, match=r"holds embeddings whose weights is .*: give another folder"):
        fill(tmp_path, 0.02)
    assert files(tmp_path) == first


def test_a_batch_holds_no_photo(plain, tmp_path):
    sharding = batch_sharding(make_mesh(plain.mesh, jax.devices()[:1]))
    whole, batch = plain.abstract_batch(sharding), cached(plain, tmp_path).abstract_batch(sharding)
    assert whole.image.shape == (2, 64, 64, 3)
    assert whole.embedding is None
    assert batch.image is None
    assert (batch.embedding.shape, batch.embedding.dtype) == ((2, 4, 4, 32), np.float32)
    assert not (tmp_path / "manifest.json").exists()


def flops(program: jax.stages.Lowered) -> int:
    return work(parse(program.compile().as_text() or "")).flops


@pytest.mark.slow
def test_a_step_costs_no_encoder(plain, blueprint, tmp_path):
    """So neither does an epoch after the first."""
    mesh = make_mesh(plain.mesh, jax.devices()[:1])
    batch = plain.abstract_batch(batch_sharding(mesh))
    steps = [lower_train_step(one, blueprint, mesh) for one in (plain, cached(plain, tmp_path))]
    encode = jax.jit(lambda params, buffers, batch: plain.embed(blueprint.model(params, buffers), batch))
    with jax.set_mesh(mesh):
        encoder = flops(encode.lower(blueprint.shapes.params, blueprint.shapes.buffers, batch))
    whole, without = map(flops, steps)
    assert whole - without == pytest.approx(encoder, rel=0.01)
    assert encoder > 0.1 * whole


VALIDATION = ClickValidationConfig(
    source=f"synthetic:photos={HELD_OUT},size=64,seed=5", every=2, photos=HELD_OUT, batch_size=8, clicks=(1, 2)
)
MESHES = {"one": MeshConfig(data=1), "all": MeshConfig(data=2, fsdp=2, tensor=2)}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("mesh", MESHES)
def test_with_everything_else_it_is_the_same_too(plain, tmp_path, capsys, mesh):
    """Adapters of the decoder, an average, batches in parts, validation; on one device and on eight."""
    config = dataclasses.replace(
        plain,
        mesh=MESHES[mesh],
        batch_size=16,
        accumulate=2,
        ema=0.9,
        trainable=("prompt_encoder/**",),
        adapters=AdaptersConfig(rank=2, kernels=("mask_decoder/**/kernel",)),
        validation=VALIDATION,
    )
    devices = 1 if mesh == "one" else 8
    expected = run(config, tmp_path / "plain", devices)
    found = run(cached(config, tmp_path / "cache"), tmp_path / "run", devices)
    assert_equal(found, expected)
    assert [row["step"] for row in found[1] if row.get("split") == "val"] == [0, 2, 4]
    assert f"encoding the other {PHOTOS + HELD_OUT}" in capsys.readouterr().out


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    path = tmp_path_factory.mktemp("experiment") / "mine.py"
    path.write_text(
        "from helpers.micro import micro_run\n"
        "from samjax.parallel.mesh import MeshConfig\n"
        f"def config():\n    return micro_run('synthetic:photos={PHOTOS},size=64', trainable={DECODER},\n"
        "        mesh=MeshConfig(), batch_size=8)\n"
    )
    return path


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--trainable", "**"), "needs an image encoder that does not train, but trainable '**' trains image_encoder/"),
        (("--adapters.rank", "2"), "but adapters.rank 2 adapts image_encoder/groups/"),
        (("--data.flip-probability", "0.5"), "data.flip_probability is 0.5, which changes photos from epoch to epoch"),
        (("--data.upside-down-probability", "1"), "data.upside_down_probability is 1.0, which changes photos"),
        (("--data.scale-jitter", "0.5", "2"), "data.scale_jitter is (0.5, 2.0), which changes"),
        (("--data.colour-jitter", "0.2"), "data.colour_jitter is 0.2, which changes photos"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_runs_that_have_no_one_embedding_of_a_photo(experiment, tmp_path, capsys, options, sentence, dry):
    cache = tmp_path / "cache"
    words = ("train", experiment, "--workdir", tmp_path / "w", "--cache-embeddings", cache, *options)
    assert main([*map(str, words), *(["--dry-run"] if dry else [])]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1
    assert not cache.exists()


def test_a_rehearsal_refuses_and_encodes_nothing(plain, blueprint, tmp_path, monkeypatch):
    config, mesh = cached(plain, tmp_path / "cache"), make_mesh(plain.mesh, jax.devices()[:1])
    state = constant_state(blueprint, 0.01)
    monkeypatch.setattr(dry_run, "fresh_start", lambda *_: Beginning(step=0, state=state, message=""))
    monkeypatch.setattr(dry_run, "make_blueprint", lambda *_: blueprint)
    stream = config.without_caches().stream(sharding=batch_sharding(mesh))
    try:
        dry_run.check(config, mesh=mesh, stream=stream, workdir=str(tmp_path / "w"))
        assert not (tmp_path / "cache").exists()
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "manifest.json").write_text('{"format": 1, "frame": [32, 32]}')
        with pytest.raises(UserError, match="holds embeddings whose frame is 32 x 32, this run's is 64 x 64"):
            dry_run.check(config, mesh=mesh, stream=stream, workdir=str(tmp_path / "w"))
    finally:
        stream.close()
