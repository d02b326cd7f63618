"""Traces of a run's steps."""

import gzip
import json
import pickle

import jax
import pytest

from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.training.profiling import Profiler, StepRange


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10", "FIRST:LAST"),
        ("a:b", "FIRST:LAST"),
        ("15:10", "FIRST:LAST"),
        ("0:3", "FIRST:LAST"),
        ("-1:3", "FIRST:LAST"),
        ("", "FIRST:LAST"),
        ("5:21", "ends with step 20"),
    ],
)
def test_a_range_that_is_none_is_one_sentence(text, why):
    with pytest.raises(UserError, match=why) as error:
        StepRange.parse(text, steps=20)
    assert f"--profile {text}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_range_is_read():
    assert StepRange.parse("10:15", steps=15) == StepRange(first=10, last=15)
    assert StepRange.parse("7:7", steps=15) == StepRange(first=7, last=7)


def _steps(directory) -> set[int]:
    """Return the numbers of the steps that the one trace under `directory` names."""
    [trace] = (directory / "plugins" / "profile").glob("*/*.trace.json.gz")
    assert list(trace.parent.glob("*.xplane.pb"))
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    return {int(event["args"]["step_num"]) for event in events if event.get("name") == "train" and "args" in event}


def _run(profiler, steps):
    state, said = jax.numpy.float32(0), []
    step = jax.jit(lambda x: x + 1)
    for number in steps:
        with profiler.step(number, state):
            state = step(state)
        said.append(profiler.end_step(number, state))
    profiler.close()
    return said


def test_the_steps_of_the_range_are_traced_and_no_others(tmp_path):
    said = _run(Profiler(StepRange(first=3, last=5), tmp_path), range(1, 9))
    assert _steps(tmp_path) == {3, 4, 5}
    assert [index + 1 for index, line in enumerate(said) if line] == [5]
    assert str(tmp_path) in said[4]


def test_a_resumed_run_traces_what_is_left_and_a_stopped_one_what_it_has(tmp_path):
    _run(Profiler(StepRange(first=3, last=5), tmp_path / "resumed"), range(5, 9))
    assert _steps(tmp_path / "resumed") == {5}
    _run(Profiler(StepRange(first=3, last=5), tmp_path / "stopped"), range(1, 5))
    assert _steps(tmp_path / "stopped") == {3, 4}
    _run(Profiler(StepRange(first=3, last=5), tmp_path / "past"), range(6, 9))
    _run(Profiler(None, tmp_path / "none"), range(1, 9))
    assert {path.name for path in tmp_path.iterdir()} == {"resumed", "stopped"}


@pytest.mark.slow
def test_the_command_traces_a_run(micro_run, tmp_path, capsys):
    experiment = tmp_path / "mine.py"
    (tmp_path / "config.pickle").write_bytes(pickle.dumps(micro_run))
    experiment.write_text(
        "import pathlib, pickle\n"
        "def config():\n"
        "    return pickle.loads((pathlib.Path(__file__).parent / 'config.pickle').read_bytes())\n"
    )
    run = ["train", str(experiment), "--workdir", str(tmp_path / "w"), "--batch-size", "8", "--mesh.data", "-1"]
    assert main([*run, "--profile", "5:7"]) == 2
    assert "the run ends with step 6" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
    assert main([*run, "--profile", "2:3"]) == 0
    assert _steps(tmp_path / "w" / "profile") == {2, 3}
    said = capsys.readouterr().out
    assert "traced steps 2 to 3" in said
    assert "goodput of the run" in said
