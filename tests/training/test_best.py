"""The best checkpoint is kept whatever comes after it, and a run that no longer gets better may end."""

import dataclasses
import os
import threading

import jax
import jax.numpy as jnp
import pytest
from etils import epath

from samjax.checkpoint.weights import read_shapes
from samjax.core.errors import UserError
from samjax.parallel.mesh import make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.tasks.promptable import ClickValidationConfig
from samjax.training import loop, start
from samjax.training.best import BestValidation, is_over, link_best
from samjax.training.config import CheckpointConfig
from samjax.training.state import Blueprint, TrainState
from samjax.training.trackers import JsonLines

FIGURES = {0: 0.1, 2: 0.5, 4: 0.3, 6: 0.4, 8: 0.5, 10: 0.2, 12: 0.9}


def rows(*steps: int) -> list[dict]:
    return [{"step": step, "split": "val", "miou@1": FIGURES[step]} for step in steps]


@pytest.fixture(scope="module")
def followed(micro_run):
    """A run that keeps its best checkpoint beside the newest, and validates every second step."""
    return dataclasses.replace(
        micro_run,
        checkpoint=CheckpointConfig(every=3, keep=1, best="miou@1"),
        validation=ClickValidationConfig(every=2),
        steps=8,
    )


def patient(config, patience: int):
    return dataclasses.replace(config, validation=dataclasses.replace(config.validation, patience=patience))


def test_the_best_is_the_first_with_the_highest_figure(followed):
    best = BestValidation(followed, rows(0, 2, 4, 6, 8), start=8, saved=[2, 8])
    assert (best.step, best.value) == (2, 0.5)


def test_rows_past_the_start_and_rows_of_training_are_not_looked_at(followed):
    best = BestValidation(followed, [*rows(0, 2, 4, 12), {"step": 3, "miou@1": 0.99}], start=4, saved=[2, 12])
    assert best.step == 2


def test_a_validation_whose_checkpoint_is_gone_is_not_the_best(followed):
    """As where nothing asked to keep it: the next best is, and new ones are held against that."""
    best = BestValidation(followed, rows(0, 2, 4, 6), start=6, saved=[4, 6])
    assert best.step == 6
    best.add(rows(8)[0])
    assert best.step == 8


@pytest.mark.parametrize(
    ("steps", "patience", "over"),
    [
        ((0, 2), 1, False),
        ((0, 2, 4), 1, True),
        ((0, 2, 4, 6), 3, False),
        ((0, 2, 4, 6, 8), 3, True),
        ((0, 2, 4), 0, False),
    ],
)
def test_patience_counts_validations_that_are_no_better(followed, steps, patience, over):
    config = patient(dataclasses.replace(followed, steps=100), patience)
    best = BestValidation(config, start=0)
    for row in rows(*steps):
        best.add(row)
    assert best.patience_is_over == over
    assert is_over(config, rows(*steps), step=steps[-1]) == over, "the same from the rows alone"


def test_a_figure_that_is_no_number_is_no_better(followed):
    best = BestValidation(patient(followed, 1))
    best.add({"step": 0, "split": "val", "miou@1": 0.3})
    best.add({"step": 2, "split": "val", "miou@1": float("nan")})
    assert best.step == 0
    assert best.patience_is_over


def test_a_figure_that_no_validation_reports_is_named(followed):
    with pytest.raises(UserError, match=r"checkpoint.best is 'miou@1', which validation does not report; .* oracle@1"):
        BestValidation(followed).add({"step": 0, "split": "val", "oracle@1": 0.3})


def test_patience_without_a_figure_is_refused(micro_run):
    with pytest.raises(UserError, match=r"validation\.patience is 3, .* give checkpoint\.best, such as miou@1"):
        patient(micro_run, 3)


def test_the_link_waits_for_its_checkpoint_and_is_replaced(tmp_path):
    workdir = epath.Path(tmp_path)
    assert not link_best(workdir, 4)
    assert list(tmp_path.iterdir()) == []
    for step in (4, 6):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
        assert link_best(workdir, step)
        assert os.readlink(tmp_path / "best") == f"checkpoints/{step}"
    assert {path.name for path in tmp_path.iterdir()} == {"best", "checkpoints"}


class FakeStep:
    """In place of the compiled training step: counts, and breaks at a step."""

    def __init__(self):
        self.compiled = 0
        self.breaks_at = 0

    def lower(self, *_):
        return self

    def compile(self):
        self.compiled += 1
        return self

    def __call__(self, state, batch, run):
        del batch, run
        state = dataclasses.replace(state, step=state.step + 1)
        loss = jnp.where(state.step == self.breaks_at, jnp.nan, 1.0)
        return state, {"loss": loss, "grad_norm": jnp.ones(())}


@pytest.fixture
def fake_step(monkeypatch):
    """The loop with a state of one number and a step that adds to it: nothing is compiled."""
    step = FakeStep()
    one = jax.device_put(jnp.zeros(()), jax.devices()[0])
    state = TrainState(params={"weight": one}, buffers={}, opt_state={}, step=jnp.zeros((), jnp.int32))
    plan = object.__new__(Blueprint)
    object.__setattr__(plan, "shapes", jax.eval_shape(lambda: state))
    object.__setattr__(plan, "shardings", jax.tree.map(lambda _: one.sharding, state))
    monkeypatch.setattr(loop, "make_blueprint", lambda *_: plan)
    monkeypatch.setattr(start, "init_state", lambda *_: state)
    monkeypatch.setattr(loop, "lower_train_step", step.lower)
    return step


def figures(_):
    return lambda state, step: ({"miou@1": FIGURES[step]}, {})


def run(config, workdir, *, make_validator=figures):
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    stream = config.stream(sharding=batch_sharding(mesh))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(config), "validator", lambda _, merge, mesh: make_validator(merge))
            return loop.train(config, workdir=workdir, mesh=mesh, stream=stream)
    finally:
        stream.close()


def saved(workdir) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_the_best_stays_beside_the_newest_over_starts(followed, fake_step, tmp_path, capsys):
    run(dataclasses.replace(followed, steps=4), tmp_path)
    assert saved(tmp_path) == [2, 4]
    assert os.readlink(tmp_path / "best") == "checkpoints/2"
    assert read_shapes(tmp_path / "best").shapes == {"params/weight": ()}, "it can be named as a checkpoint"
    run(followed, tmp_path)
    assert saved(tmp_path) == [2, 8]
    assert f"best miou@1 0.5 at step 2: {tmp_path / 'best'}" in capsys.readouterr().out
    assert [row["step"] for row in JsonLines.read(tmp_path / "metrics.jsonl") if row.get("split") == "val"] == [
        *(0, 2, 4, 6, 8)
    ]
    # The command of a finished run says so, and compiles nothing.
    compiled = fake_step.compiled
    assert int(run(followed, tmp_path).step) == 8
    assert fake_step.compiled == compiled == 2
    assert "already finished at step 8; give more than --steps 8 to continue" in capsys.readouterr().out
    run(dataclasses.replace(followed, steps=12), tmp_path)
    assert saved(tmp_path) == [12]
    assert os.readlink(tmp_path / "best") == "checkpoints/12"


def test_a_run_ends_when_patience_is_over_and_stays_so(followed, fake_step, tmp_path, capsys):
    config = patient(dataclasses.replace(followed, steps=12), 2)
    assert int(run(config, tmp_path).step) == 6
    said = capsys.readouterr().out
    assert (
        "stopped early at step 6: miou@1 has not risen above 0.5 in 2 validations; give more than --validation" in said
    )
    assert saved(tmp_path) == [2, 6]
    assert is_over(config, JsonLines.read(tmp_path / "metrics.jsonl"), step=6)
    assert int(run(config, tmp_path).step) == 6
    assert fake_step.compiled == 1
    assert int(run(patient(config, 3), tmp_path).step) == 8


def test_a_run_in_a_thread_trains_without_handling_signals(followed, fake_step, tmp_path, capsys):
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run(followed, tmp_path)))
    thread.start()
    thread.join()
    assert int(ended[0].step) == 8
    assert capsys.readouterr().out.count("SIGTERM and Ctrl-C cannot save this run") == 1


def test_a_run_that_breaks_says_what_is_saved(followed, fake_step, tmp_path, capsys):
    """Also where that is nothing: it was 'the last checkpoint is of step None', after a traceback."""
    config = dataclasses.replace(followed, skip_limit=0, checkpoint=CheckpointConfig(every=2))
    fake_step.breaks_at = 2
    with pytest.raises(UserError, match=r"step 2: loss is nan; .* nothing has been saved yet: start again"):
        run(config, tmp_path / "early")
    fake_step.breaks_at = 4
    with pytest.raises(UserError, match=r"step 4: loss is nan; .* the last checkpoint is of step 2: resume from it"):
        run(config, tmp_path / "late")
    fake_step.breaks_at = 0
    run(config, tmp_path / "late")
    said = capsys.readouterr().out
    assert "repeating step 3, not saved by an earlier start" in said
