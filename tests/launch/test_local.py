"""Several processes of one run, started as `launch/local.py` starts them."""

import re
import signal
import subprocess
import sys

import pytest
from started import LOCAL, STEPS, Started


@pytest.fixture(scope="module")
def undisturbed(experiment, tmp_path_factory):
    """A run of two processes from start to end."""
    run = Started(experiment, tmp_path_factory.mktemp("undisturbed"), processes=2)
    code, said = run.end()
    assert code == 0, said
    return run, said


@pytest.mark.multihost
def test_two_processes_report_once_and_validate(undisturbed):
    run, said = undisturbed
    assert [row["step"] for row in run.rows("train")] == list(range(1, STEPS + 1))
    assert [row["step"] for row in run.rows("val")] == [0, 4, 6]
    assert {row["photos"] for row in run.rows("val")} == {6}
    assert len(re.findall(r"step +6/6  train", said)) == 1
    assert sorted(path.name for path in (run.workdir / "samples").iterdir())[0] == "val_clicks_000000.png"


@pytest.mark.multihost
@pytest.mark.long  # tests/data/test_stream_processes.py has the batches, tests/training/test_meshes.py the steps
def test_two_processes_start_like_one(undisturbed, experiment, tmp_path):
    alone = Started(experiment, tmp_path, processes=1, options=("--steps", "1"))
    code, said = alone.end()
    assert code == 0, said
    two = undisturbed[0]
    assert two.losses()[1] == pytest.approx(alone.losses()[1], rel=1e-5)
    first, expected = (
        {name: value for name, value in run.rows("val")[0].items() if name != "split"} for run in (two, alone)
    )
    assert first == pytest.approx(expected, rel=1e-5)


@pytest.mark.multihost
def test_a_killed_process_ends_the_others_and_the_run_goes_on(undisturbed, experiment, tmp_path):
    """Bit for bit: the losses after the last checkpoint are those of a run that nobody killed."""
    run = Started(experiment, tmp_path, processes=2, grace=60, options=("--checkpoint.every", "2"))
    run.until(rows=5, saved=1)
    run.signal(signal.SIGKILL, process=1)
    code, said = run.end()
    assert code == 128 + signal.SIGKILL
    assert "process 1 ended with SIGKILL" in said
    assert "is killed" not in said, "the other noticed by itself"
    again = Started(experiment, tmp_path, processes=2)
    code, said = again.end()
    assert code == 0, said
    assert "resumed from step" in said
    assert again.losses() == undisturbed[0].losses()


@pytest.mark.multihost
@pytest.mark.long  # minutes; tests/tasks/test_embedding_filling.py has one process
def test_two_processes_fill_one_cache_and_compute_what_they_would_without(experiment, tmp_path):
    """Bit for bit, each photo encoded by one of them. tests/tasks/test_embedding_filling.py has the next run's part."""
    frozen = ("--trainable", "mask_decoder/**", "prompt_encoder/**", "--steps", "2")
    cached = (*frozen, "--cache-embeddings", str(tmp_path / "embeddings"))
    said, losses = [], []
    for name, options in (("plain", frozen), ("filling", cached)):
        run = Started(experiment, tmp_path / name, processes=2, options=options)
        code, text = run.end()
        assert code == 0, text
        said.append(text)
        losses.append(run.losses())
    assert losses[1] == losses[0]
    photos = len(list((tmp_path / "embeddings").rglob("*.npy")))
    assert photos > 0
    assert f"holds the embeddings of 0 of {photos} photos" in said[1]


@pytest.mark.multihost
@pytest.mark.long  # tests/launch/test_faults.py has the signal in two phases of a run
def test_sigterm_to_one_saves_and_ends_all(undisturbed, experiment, tmp_path):
    run = Started(experiment, tmp_path, processes=2, options=("--checkpoint.every", "1000", "--validation.source", ""))
    run.until(rows=1)
    run.signal(signal.SIGTERM, process=1)
    code, said = run.end()
    assert code == 0, said
    (step,) = run.saved()
    if step < STEPS:
        assert f"stopped by a signal at step {step}, saved" in said
    again = Started(experiment, tmp_path, processes=2, options=("--validation.source", ""))
    code, said = again.end()
    assert code == 0, said
    assert again.losses() == undisturbed[0].losses()


@pytest.mark.multihost
def test_an_error_of_one_ends_all_with_its_message(experiment, tmp_path):
    run = Started(experiment, tmp_path, processes=2, options=("--data.max-masks", "0"))
    code, said = run.end()
    assert code == 2
    assert "samjax: data.max_masks is 0" in said
    assert "is killed" not in said


def test_a_dry_run_prints_what_it_would_start(capfd):
    said = subprocess.run(
        [sys.executable, LOCAL, "--processes", "3", "--dry-run", "--", "mine.py", "--steps", "4"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(said) == 3
    for index, command in enumerate(said):
        assert "samjax.cli.main train mine.py --steps 4 --coordinator 127.0.0.1:" in command
        assert command.endswith(f"--processes 3 --process {index}")
