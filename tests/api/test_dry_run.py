"""The rehearsal of a run looks at all that the run would."""

import json
import os

import jax
import numpy as np
import pytest
from helpers.micro import micro_experiment

from samjax.checkpoint.weights import save_weights
from samjax.cli.main import main
from samjax.core.json_config import to_json
from samjax.training.state import make_blueprint


@pytest.fixture(scope="module")
def experiment(prepared, tmp_path_factory):
    return micro_experiment(tmp_path_factory.mktemp("experiment") / "mine.py", prepared / "train")


@pytest.fixture(scope="module")
def weights(micro, micro_run, tmp_path_factory):
    """Zeros of the micro model's shapes."""
    from samjax.parallel.mesh import make_mesh

    planned = make_blueprint(micro_run, make_mesh(micro_run.mesh, jax.devices()[:1])).shapes
    params, buffers = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), (planned.params, planned.buffers))
    path = tmp_path_factory.mktemp("weights") / "micro"
    save_weights(path, params=params, buffers=buffers, config={"model": json.loads(to_json(micro))})
    return path


def rehearse(capsys, experiment, workdir, *options) -> tuple[int, str]:
    code = main([str(word) for word in ("train", experiment, "--dry-run", "--workdir", workdir, *options)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out + said.err


def test_it_says_what_the_run_would_begin_with_and_validate_on(capsys, experiment, weights, prepared, tmp_path):
    validation = ("--validation.source", prepared / "val", "--validation.photos", 12)
    code, said = rehearse(capsys, experiment, tmp_path / "w", "--init-from", weights, *validation)
    assert code == 0, said
    assert f"12 photos of {prepared / 'val'} to validate on, starts from " in said
    assert f" arrays of {weights}" in said
    assert os.listdir(tmp_path / "w") == [".lock"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--init-from", "nowhere"), "nowhere: no such folder"),
        (("--validation.source", "nowhere"), "validation.source: nowhere is not a folder"),
        (("--checkpoint.best", "miou@1"), "checkpoint.best is 'miou@1', but there is no validation"),
        (
            ("--checkpoint.best", "miou@4", "--validation.source", "synthetic:photos=8,size=64"),
            "checkpoint.best is 'miou@4', which validation does not report; it reports miou@1, miou@2, miou@3, miou@5",
        ),
        (("--validation.photos", "0"), "validation.photos is 0; it must be at least 1"),
        (("--checkpoint.keep", "0"), "checkpoint.keep is 0; it must be at least 1"),
    ],
)
def test_what_the_run_would_stumble_over_is_refused(capsys, experiment, tmp_path, options, sentence):
    code, said = rehearse(capsys, experiment, tmp_path / "w", *options)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"samjax: {sentence}")


def test_weights_of_another_frame_are_resized(capsys, experiment, weights, tmp_path):
    options = ("--init-from", weights, "--model.image-size", 96, 64)
    code, said = rehearse(capsys, experiment, tmp_path / "w", *options)
    assert code == 0, said
    assert f" arrays of {weights}" in said


def test_weights_of_another_frame_and_width_name_the_arrays(capsys, experiment, weights, tmp_path):
    options = ("--init-from", weights, "--model.image-size", 96, 64, "--model.image-encoder.width", 64)
    code, said = rehearse(capsys, experiment, tmp_path / "w", *options)
    assert (code, said.count("\n")) == (2, 1)
    assert f"init_from: {weights}: the arrays are not those of this image encoder" in said


@pytest.mark.slow
def test_it_checks_the_checkpoint_that_the_run_would_resume(capsys, experiment, tmp_path):
    assert main(["train", str(experiment), "--steps", "1", "--workdir", str(tmp_path / "w")]) == 0
    code, said = rehearse(capsys, experiment, tmp_path / "w")
    assert code == 0, said
    assert "resumes from step 1" in said
    code, said = rehearse(capsys, experiment, tmp_path / "w", "--model.embedding", 48)
    assert code == 2, said
    assert "checkpoints/1" in said


def test_a_cache_is_checked_and_not_filled(capsys, experiment, weights, tmp_path):
    """The rehearsal reads its batches as a run without the cache would."""
    frozen = ("--init-from", weights, "--trainable", "mask_decoder/**", "prompt_encoder/**")
    code, said = rehearse(capsys, experiment, tmp_path / "w", *frozen, "--cache-embeddings", tmp_path / "embeddings")
    assert code == 0, said
    assert "8 of 8 photos a step" in said
    assert not (tmp_path / "embeddings").exists()


def test_weights_of_another_width_name_an_array(capsys, experiment, weights, tmp_path):
    code, said = rehearse(capsys, experiment, tmp_path / "w", "--init-from", weights, "--model.embedding", 48)
    assert code == 2
    assert "is of another model than this experiment's" in said
