"""Laws of a run: it resumes exactly, stops cleanly and never saves what it has not looked at."""

import dataclasses
import json
import os
import re
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.compiled_steps import share
from helpers.unpacked_tars import unpack
from jax.experimental.compilation_cache import compilation_cache

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.data.stream.loader import TrainStream
from samjax.parallel.mesh import make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.tasks.promptable import PromptableTraining
from samjax.training import loop
from samjax.training import step as step_module
from samjax.training.loop import train
from samjax.training.metrics import NonFiniteLossError
from samjax.training.state import init_state, make_blueprint
from samjax.training.trackers import JsonLines

# Where a read of Orbax's fails, those it began beside it end after their event loop is closed, and say so to nobody.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("leftovers_collected"),
]


class Interrupted(TrainStream):
    """A stream during whose `after`-th batch the process is asked to stop; it shares the state of the one it wraps."""

    def __init__(self, stream, after):
        self.__dict__ = stream.__dict__
        self.left = after

    def __next__(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__next__()


def _train(config, workdir, *, after=None, make_validator=lambda _: None, wrap=lambda stream: stream):
    """Train `config`, validated by what `make_validator` returns of the function that merges a model."""
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    stream = config.stream(sharding=batch_sharding(mesh))
    try:
        given = wrap(stream) if after is None else Interrupted(stream, after)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(config), "validator", lambda _, merge, mesh: make_validator(merge))
            return train(config, workdir=workdir, mesh=mesh, stream=given)
    finally:
        stream.close()


def _losses(workdir):
    rows = [row for row in JsonLines.read(workdir / "metrics.jsonl") if row.get("split", "train") == "train"]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in rows]


@pytest.fixture(scope="module", autouse=True)
def programs_shared():
    with pytest.MonkeyPatch.context() as patch:
        share(patch)
        yield


@pytest.fixture(scope="module")
def whole(micro_run, tmp_path_factory):
    """An uninterrupted run."""
    workdir = tmp_path_factory.mktemp("whole")
    state = _train(micro_run, workdir)
    return workdir, state


def documented_columns() -> set[str]:
    """Return the columns of metrics that docs/training.md explains."""
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    table = page.split("| column | meaning |\n")[1].split("\n\n")[0]
    return {name for row in table.splitlines() for name in re.findall("`([a-z_]+)`", row.split("|")[1])}


def test_the_workdir_holds_what_the_docs_say(micro_run, whole):
    workdir, _ = whole
    rows = JsonLines.read(workdir / "metrics.jsonl")
    assert all(set(row) == documented_columns() - {"mfu", "skipped"} for row in rows)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for name in ("loss", "focal", "dice", "iou_mse", "miou", "grad_norm", "lr", "images_per_s", "elapsed_s", "goodput"):
        assert all(np.isfinite(row[name]) for row in rows), name
    for name in ("step_s", "data_wait_s", "save_s", "eval_s"):
        assert all(row[name] >= 0 for row in rows), name
    assert all("mfu" not in row for row in rows)  # of a CPU no peak is known
    walls = [row["elapsed_s"] for row in rows]
    for before, after, row in zip(walls, walls[1:], rows[1:], strict=False):
        parts = sum(row[name] for name in ("step_s", "data_wait_s", "save_s", "eval_s"))
        assert after - before == pytest.approx(parts, abs=1e-6)
    assert 0 < rows[-1]["goodput"] < 1
    assert json.loads((workdir / "config.json").read_text())["steps"] == 6
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == ["6"]
    assert list((workdir / "tensorboard").iterdir())


def test_updates_move_parameters_and_never_buffers(micro_run, whole):
    mesh = make_mesh(micro_run.mesh, jax.devices()[:1])
    blueprint = make_blueprint(micro_run, mesh)
    first = jax.device_get(init_state(blueprint, micro_run, jax.random.key(micro_run.seed)))
    for name, leaf in named_leaves(whole[1].params).items():
        assert not np.array_equal(leaf, named_leaves(first.params)[name]), name
    for name, leaf in named_leaves(whole[1].buffers).items():
        np.testing.assert_array_equal(leaf, named_leaves(first.buffers)[name])


def test_the_logged_loss_is_the_sum_of_its_terms(micro_run, whole):
    for row in JsonLines.read(whole[0] / "metrics.jsonl"):
        weighted = 20 * row["focal"] + row["dice"] + row["iou_mse"]
        assert row["loss"] == pytest.approx(micro_run.prompting.rounds * weighted, rel=1e-5)


def test_a_stopped_run_resumes_bit_for_bit(micro_run, whole, tmp_path):
    _train(micro_run, tmp_path, after=3)
    assert [step for step, *_ in _losses(tmp_path)] == [1, 2, 3]
    state = _train(micro_run, tmp_path)
    assert _losses(tmp_path) == _losses(whole[0])
    for got, expected in zip(jax.tree.leaves(state), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_run_begins_with_another_runs_weights(micro_run, whole, tmp_path, capsys):
    """They are what it is validated with first; a run that goes on does not ask for them again."""
    first = []

    def make_validator(_):
        def validate(state, step):
            first.append(jax.device_get(state.params))
            return {"miou@1": 0.5}, {}

        return validate

    config = dataclasses.replace(micro_run, steps=1, init_from=str(whole[0]))
    _train(config, tmp_path, make_validator=make_validator)
    for got, expected in zip(jax.tree.leaves(first[0]), jax.tree.leaves(whole[1].params), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert f"arrays begin as in {whole[0] / 'checkpoints' / '6'}" in capsys.readouterr().out
    _train(dataclasses.replace(config, steps=2, init_from="nowhere"), tmp_path)
    assert [step for step, *_ in _losses(tmp_path)] == [1, 2]
    with pytest.raises(UserError, match="nowhere: no such folder"):
        _train(dataclasses.replace(config, init_from="nowhere"), tmp_path / "other")


@pytest.mark.slow
def test_a_program_from_the_cache_computes_the_same_bits(micro_run, tmp_path, monkeypatch):
    """A run whose program was read from disk equals, bit for bit, the one that compiled it."""
    monkeypatch.setattr(loop, "lower_train_step", step_module.lower_train_step)  # no step of the other tests
    events: list[str] = []

    def note(event: str, **_) -> None:
        events.append(event.removeprefix("/jax/compilation_cache/"))

    settings = {
        "jax_compilation_cache_dir": str(tmp_path / "programs"),
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    compilation_cache.reset_cache()
    for name, value in settings.items():
        jax.config.update(name, value)
    jax.monitoring.register_event_listener(note)
    try:
        states, hits = [], []
        for name in ("compiles", "reads"):
            states.append(_train(micro_run, tmp_path / name))
            hits.append("cache_hits" in events)
    finally:
        jax.monitoring.unregister_event_listener(note)
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    assert hits == [False, True]
    assert _losses(tmp_path / "reads") == _losses(tmp_path / "compiles")
    for got, expected in zip(jax.tree.leaves(states[1]), jax.tree.leaves(states[0]), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_corrupt_checkpoint_costs_its_steps_alone(micro_run, whole, tmp_path, caplog):
    """The run goes on from the one before, with the losses of a run to which nothing happened."""
    config = dataclasses.replace(micro_run, checkpoint=dataclasses.replace(micro_run.checkpoint, every=2))
    _train(config, tmp_path)
    for path in (tmp_path / "checkpoints" / "6" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    state = _train(config, tmp_path)
    assert "checkpoint 6 is not used: " in caplog.text
    assert [path.name for path in (tmp_path / "corrupt").iterdir()] == ["6"]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "4", "6"]
    assert _losses(tmp_path) == _losses(whole[0])
    for got, expected in zip(jax.tree.leaves(state), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_rows_past_the_checkpoint_are_not_kept_twice(micro_run, whole, tmp_path):
    """A killed run may have logged steps that it never saved, and half a line."""
    _train(micro_run, tmp_path, after=3)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, "loss": 1.0}) + '\n{"step": 5, "lo')
    _train(micro_run, tmp_path)
    assert _losses(tmp_path) == _losses(whole[0])


def test_a_finished_run_does_nothing_more(micro_run, whole):
    workdir, state = whole
    before = (workdir / "metrics.jsonl").read_text()
    again = _train(micro_run, workdir)
    assert (workdir / "metrics.jsonl").read_text() == before
    assert int(again.step) == int(state.step) == 6


def test_the_order_is_evaluate_save_step(micro_run, tmp_path):
    """Validation at step 0, at multiples and at the end; checkpoints see the state that was validated."""
    seen = []

    def make_validator(_):
        def validate(state, step):
            saved = tmp_path / "checkpoints" / str(step)
            seen.append((step, int(state.step), saved.exists()))
            return {"miou@1": 0.5}, {"sheet": np.zeros((8, 8, 3), np.uint8)}

        return validate

    every = dataclasses.replace(micro_run.validation, every=4)
    saves = dataclasses.replace(micro_run.checkpoint, every=4)
    config = dataclasses.replace(micro_run, validation=every, checkpoint=saves)
    _train(config, tmp_path, make_validator=make_validator)
    assert seen == [(0, 0, False), (4, 4, False), (6, 6, False)]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"4", "6"}
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {f"sheet_00000{k}.png" for k in (0, 4, 6)}
    validated = [row for row in JsonLines.read(tmp_path / "metrics.jsonl") if row.get("split") == "val"]
    assert [(row["step"], row["miou@1"]) for row in validated] == [(0, 0.5), (4, 0.5), (6, 0.5)]


BREAKS = 2**30
"""Added to the image_id of photos that break the step they are in."""


class Breaking(TrainStream):
    """A stream some of whose batches break the step, by number from 1; it shares the state of the one it wraps."""

    def __init__(self, stream, breaks):
        self.__dict__ = stream.__dict__
        self.breaks, self.step, self.ids = breaks, 0, []

    def __next__(self):
        batch = super().__next__()
        self.step += 1
        if self.step in self.breaks:
            batch = dataclasses.replace(batch, record_id=batch.record_id + BREAKS)
        self.ids.append(sorted(int(i) for i in batch.record_id))
        return batch


@pytest.fixture(scope="module")
def breaking(micro_run):
    """Takes the steps that break, a workdir and fields of the run; returns the last state and each step's image_ids."""

    objective = PromptableTraining.objective

    def loss(config, model, batch, *, keys):
        loss, metrics = objective(config, model, batch, keys=keys)
        loss = jnp.where((batch.record_id >= BREAKS).any(), jnp.nan, loss)
        return loss, {**metrics, "loss": loss}

    def run(breaks, workdir, **fields):
        streams = []

        def wrap(stream):
            streams.append(Breaking(stream, breaks))
            return streams[0]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PromptableTraining, "objective", loss)
            try:
                return _train(dataclasses.replace(micro_run, **fields), workdir, wrap=wrap), streams[0].ids
            except NonFiniteLossError as error:
                return error, streams[0].ids

    return run


def test_a_broken_step_is_skipped_named_and_counted(breaking, whole, tmp_path, caplog):
    """It leaves parameters and moments as they were, and the steps after it are taken."""
    _, ids = breaking([5], tmp_path)
    assert f"step 5: loss is nan; its photos are image_id {ids[4]}. The step is skipped." in caplog.text
    rows = JsonLines.read(tmp_path / "metrics.jsonl")
    assert [row.get("skipped") for row in rows] == [None] * 4 + [1, None]
    assert "loss" not in rows[4]
    assert [row["loss"] for row in rows[:4]] == [loss for _, loss, _ in _losses(whole[0])[:4]]
    assert np.isfinite(rows[5]["loss"])
    # The state of step 4, one step later.
    before, _ = breaking([], tmp_path / "before", steps=4)
    after, _ = breaking([5], tmp_path / "after", steps=5)
    assert int(after.step) == 5
    for got, expected in zip(jax.tree.leaves(after.params), jax.tree.leaves(before.params), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_too_many_broken_steps_name_the_step_and_its_photos(breaking, tmp_path):
    """Found at the next log, and never saved."""
    error, ids = breaking([2, 3, 4, 5, 6], tmp_path, log_every=3, skip_limit=1)
    assert isinstance(error, NonFiniteLossError)
    assert "step 3" in str(error)
    assert "2 skipped in a row, and skip_limit is 1" in str(error)
    assert str(ids[2]) in str(error)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_checkpoint_of_another_model_is_one_sentence(micro_run, whole):
    other = dataclasses.replace(micro_run, model=dataclasses.replace(micro_run.model, embedding=64))
    with pytest.raises(UserError, match=r"another model.*new --workdir"):
        _train(other, whole[0])


EARLIER_CHECKPOINT = Path(__file__).parents[1] / "golden" / "earlier_run" / "checkpoint_3.tar.gz"
EARLIER_ROWS = {
    4: [13.981374740600586, 29.83135223388672],
    5: [13.549603462219238, 32.00093078613281],
    6: [13.291107177734375, 27.65475845336914],
}
"""Loss and gradient norm by step. Commit 2bce130 began the run: state, place in the data and config of step 3 are as it
wrote them. The steps after it are those of the version that first drew each mask's prompts from a key of its own."""


def test_a_run_of_an_earlier_version_goes_on_with_its_losses(micro_run, tmp_path, capsys):
    """`samjax train` gave all their digits on one machine; tests compile quickly, which rounds otherwise."""
    data = dataclasses.replace(
        micro_run.data, source="synthetic:photos=24,seed=5", scale_jitter=(0.5, 2.0), flip_probability=0.5
    )
    config, streams = dataclasses.replace(micro_run, data=data), []
    unpack(EARLIER_CHECKPOINT, tmp_path / "checkpoints")
    _train(config, tmp_path, wrap=lambda stream: streams.append(stream) or stream)
    assert f"resumed from step 3 in {tmp_path / 'checkpoints'}" in capsys.readouterr().out
    rows = JsonLines.read(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(EARLIER_ROWS)
    for row in rows:
        assert [row["loss"], row["grad_norm"]] == pytest.approx(EARLIER_ROWS[row["step"]], rel=1e-4), row["step"]
    assert streams[0].counts["records"] == 12
    assert streams[0].counts["masks"] == 24
