"""The command line: what goes wrong is one sentence and exit code 2."""

import dataclasses
import os
import signal

import pytest

from samjax.cli.main import main
from samjax.cli.train import override
from samjax.core.errors import UserError
from samjax.training import config as train_config


@pytest.fixture
def experiment(tmp_path, photos):
    """An experiment file of the micro model on the shipped photos."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from samjax.data.masks.mask_data import MaskDataConfig\n"
        "from samjax.models.sam.sam import SamConfig\n"
        "from samjax.tasks.promptable import PromptableTraining\n"
        "def config():\n"
        f"    data = MaskDataConfig(source={str(photos / 'train')!r})\n"
        "    return PromptableTraining(model=SamConfig.tiny(), data=data,\n"
        "                       batch_size=8, steps=3)\n"
    )
    return path


def _refused(capsys, *arguments):
    """Return the sentence that `samjax ARGUMENTS` ends with."""
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert "Traceback" not in said
    assert said.startswith("samjax: ")
    assert "\n" not in said
    return said


def test_overrides_reach_every_depth(micro_run):
    changed = override(
        micro_run, ["--steps", "20", "--optim.schedule.peak-lr", "1e-4", "--model.image-size", "32", "64"]
    )
    assert changed.steps == 20
    assert changed.optim.schedule.peak_lr == 1e-4
    assert changed.model.image_size == (32, 64)
    assert dataclasses.replace(changed, steps=6, optim=micro_run.optim, model=micro_run.model) == micro_run


@pytest.mark.parametrize(
    ("wrong", "right"), [("--optim.schedule.peek-lr", "peak-lr"), ("--stepss", "--steps"), ("--data.sauce", "source")]
)
def test_a_wrong_override_names_the_nearest_right_one(micro_run, wrong, right):
    with pytest.raises(UserError) as error:
        override(micro_run, [wrong, "1"])
    assert wrong in str(error.value)
    assert right in str(error.value)


def test_an_override_of_another_type_is_refused(micro_run):
    with pytest.raises(UserError, match="steps"):
        override(micro_run, ["--steps", "many"])


def test_missing_data_is_named(capsys, experiment, tmp_path):
    said = _refused(capsys, "train", experiment, "--workdir", tmp_path / "w", "--data.source", tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in said


def test_an_empty_folder_is_named(capsys, experiment, tmp_path):
    (tmp_path / "empty").mkdir()
    said = _refused(capsys, "train", experiment, "--workdir", tmp_path / "w", "--data.source", tmp_path / "empty")
    assert str(tmp_path / "empty") in said


def test_no_data_source_says_what_to_give(capsys, experiment, tmp_path):
    said = _refused(capsys, "train", experiment, "--workdir", tmp_path / "w", "--data.source", "")
    assert "data.source" in said


def test_an_experiment_without_config_is_named(capsys, tmp_path):
    (tmp_path / "bare.py").write_text("x = 1\n")
    assert "config()" in _refused(capsys, "train", tmp_path / "bare.py")


def test_a_missing_experiment_is_named(capsys, tmp_path):
    assert "none.py" in _refused(capsys, "train", tmp_path / "none.py")


def test_a_batch_that_the_mesh_cannot_split_is_refused(capsys, experiment, tmp_path):
    said = _refused(capsys, "train", experiment, "--workdir", tmp_path / "w", "--batch-size", "6")
    assert said.startswith("samjax: batch_size is 6, but the mesh {'data': 8, ")
    assert "a multiple of 8" in said
    validation = ("--validation.source", tmp_path, "--validation.batch-size", "12")
    said = _refused(capsys, "train", experiment, "--workdir", tmp_path / "w", *validation)
    assert said.startswith("samjax: validation.batch_size is 12, but the mesh")


def test_a_dry_run_says_what_there_is_and_leaves_its_lock_alone(capsys, experiment, prepared, tmp_path):
    source = ("--data.source", str(prepared / "train"))
    assert main(["train", str(experiment), "--dry-run", "--workdir", str(tmp_path / "w"), *source]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("process 0 of 1 on ")
    assert "8 of 8 devices (cpu), mesh {'data': 8, 'fsdp': 1, 'tensor': 1}" in line
    assert "8 of 8 photos a step from 42 records" in line
    assert [path.name for path in (tmp_path / "w").iterdir()] == [".lock"]


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--stopped-code", "75"), 75)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_step_ends_at_once(
    capsys, experiment, prepared, tmp_path, monkeypatch, number, options, code
):
    monkeypatch.setattr(train_config, "train_stream", lambda *_, **__: os.kill(os.getpid(), number))
    before = [signal.getsignal(stop) for stop in (signal.SIGTERM, signal.SIGINT)]
    words = ["train", experiment, "--workdir", tmp_path / "w", "--data.source", prepared / "train", *options]
    assert main([str(word) for word in words]) == code
    assert capsys.readouterr().err == (
        "samjax: stopped by a signal before it could save; run the same command again to resume\n"
    )
    assert [signal.getsignal(stop) for stop in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_dry_run_refuses_a_workdir_that_is_a_file(capsys, experiment, prepared, tmp_path):
    (tmp_path / "w").write_text("")
    said = _refused(
        capsys, "train", experiment, "--dry-run", "--workdir", tmp_path / "w", "--data.source", prepared / "train"
    )
    assert str(tmp_path / "w") in said
    assert "cannot be written to" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--processes", "2", "--process", "0"), "--coordinator must be given too"),
        (("--coordinator", "here:9"), "--processes and --process must be given too"),
        (("--coordinator", "here", "--processes", "2", "--process", "0"), "--coordinator is here; expected HOST:PORT"),
        (("--coordinator", "here:9", "--processes", "2", "--process", "2"), "--process is 2 of --processes 2"),
    ],
)
def test_half_a_cluster_is_refused(capsys, experiment, tmp_path, given, said):
    """Else each of its processes would train alone, in one workdir."""
    assert said in _refused(capsys, "train", experiment, "--workdir", tmp_path / "w", *given)
    assert not (tmp_path / "w").exists()


def test_an_image_size_off_the_patch_names_the_nearest(capsys, experiment, tmp_path):
    said = _refused(capsys, "train", experiment, "--workdir", tmp_path / "w", "--model.image-size", "100", "128")
    assert "100" in said
    assert "96" in said


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["data", "--help"], ["data", "prepare", "--help"], ["data", "verify", "--help"]],
)
def test_every_command_explains_itself(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_help_with_an_experiment_lists_its_fields(capsys, experiment):
    with pytest.raises(SystemExit) as stop:
        main(["train", str(experiment), "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "--optim.schedule.peak-lr" in said
    assert "Steps between rows of metrics" in said


def test_prepare_reports_and_never_overwrites(capsys, photos, tmp_path):
    assert (
        main(["data", "prepare", "--source", str(photos / "val"), "--out", str(tmp_path / "p"), "--split", "val"]) == 0
    )
    assert "53 photos with " in capsys.readouterr().out
    assert "p" in _refused(capsys, "data", "prepare", "--source", photos / "val", "--out", tmp_path / "p")
