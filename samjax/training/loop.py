"""The training loop: one function, fixed order."""

import contextlib
import time
from collections.abc import Sequence

import jax
from etils import epath
from jax.sharding import Mesh

from samjax.checkpoint.manager import Checkpoints
from samjax.core.distributed import is_lead, wait_for_all
from samjax.core.files import write_whole
from samjax.core.heap import return_free_memory
from samjax.data.stream.loader import TrainStream
from samjax.data.stream.position import summary
from samjax.training.best import BestValidation, link_best, way_on
from samjax.training.clock import Part, Past, RunClock
from samjax.training.config import TrainConfig
from samjax.training.metrics import NonFiniteLossError, PendingMetrics, peak_images_per_s
from samjax.training.profiling import Profiler, StepRange
from samjax.training.stall import StallWatch
from samjax.training.start import begin
from samjax.training.state import TrainState, make_blueprint
from samjax.training.step import lower_train_step
from samjax.training.stopping import Stopping
from samjax.training.trackers import JsonLines, Pictures, TensorBoard, Terminal, Tracker


def train(
    config: TrainConfig,
    *,
    workdir: epath.PathLike,
    mesh: Mesh,
    stream: TrainStream,
    profile: StepRange | None = None,
) -> TrainState:
    """Run `config` in `workdir`, resuming from its newest checkpoint if there is one, and return the final state.

    The order of an iteration is fixed: evaluate, save (model, optimiser and data position as one), take the next batch,
    step, log. SIGTERM or Ctrl-C to any process stops all of them after the same step, which is saved; outside the
    main thread signals are not handled. The steps of `profile` are traced. In a multi-process run only the first
    process reports. A finished run compiles nothing.

    Raises:
      UserError: the workdir holds a checkpoint of another model, or no complete checkpoint; or the starting weights
        belong to another model.
      NonFiniteStateError: a state to be saved is not finite.
      NonFiniteLossError: more than `config.skip_limit` steps in a row had a non-finite loss.
    """
    workdir = epath.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    config_json = config.to_json()
    checkpoints = Checkpoints(workdir / "checkpoints", keep=config.checkpoint.keep)
    clock = RunClock()
    past_rows = JsonLines.read(workdir / "metrics.jsonl")
    wait_for_all("the rows of earlier starts are read")
    with contextlib.ExitStack() as stack:
        stack.callback(checkpoints.close)
        stack.enter_context(jax.set_mesh(mesh))
        stopping = stack.enter_context(Stopping.listening(checkpoints, clock))
        blueprint = make_blueprint(config, mesh)
        run = jax.random.key(config.seed)
        beginning = begin(config, blueprint, checkpoints=checkpoints, stream=stream, run=run)
        start, state = beginning.step, beginning.state
        stopping.dispatched = start

        clock.past = Past.of_rows(past_rows, resume_step=start)
        terminal = Terminal(steps=config.steps, start=start, quiet=not is_lead())
        trackers: Sequence[Tracker] = (terminal,)
        if is_lead():
            write_whole(workdir / "config.json", config_json + "\n")
            rows = JsonLines(workdir / "metrics.jsonl", resume_step=start)
            trackers = (terminal, rows, TensorBoard(workdir / "tensorboard"), Pictures(workdir / "samples"))
        for tracker in trackers:
            stack.callback(tracker.close)
        if beginning.message:
            terminal.say(beginning.message)
        if (reached := max((int(row["step"]) for row in past_rows), default=0)) > start:
            again = StepRange(first=start + 1, last=reached)
            terminal.say(f"repeating {again}, not saved by an earlier start")
        if not stopping.listens:
            terminal.say("SIGTERM and Ctrl-C cannot save this run: it is not in the main thread of its process")
        if profile is not None and profile.last <= start:
            terminal.say(f"no trace: steps {profile.first} to {profile.last} are already done")
        validated = {row["step"] for row in past_rows if row.get("split") == "val" and int(row["step"]) <= start}
        best = BestValidation(config, past_rows, start=start, saved=checkpoints.steps())
        linked: int | None = None
        validator = config.validator(blueprint.model, mesh)

        ends = start >= config.steps or best.patience_is_over
        if (caches := config.caches()) is not None and not (ends and (validator is None or start in validated)):
            caches.fill(blueprint.model, state, mesh, say=terminal.say, is_stopping=lambda: stopping.came)
        step_function = None
        if start < config.steps and not best.patience_is_over and not (stopping.came and jax.process_count() == 1):
            for name, value in config.choices(mesh.devices.flat[0].platform).items():
                terminal.say(f"{name}: {value}")
            terminal.say("compiling the training step; a large model takes minutes")
            began = time.monotonic()
            step_function = lower_train_step(config, blueprint, mesh).compile()
            return_free_memory()
            terminal.say(f"compiled the training step in {time.monotonic() - began:.1f} s")
        pending = PendingMetrics(
            batch_size=config.batch_size,
            clock=clock,
            peak=peak_images_per_s(config, mesh),
            skip_limit=config.skip_limit,
        )
        profiler = Profiler(profile if is_lead() else None, workdir / "profile")
        stack.callback(profiler.close)

        def log() -> None:
            try:
                row = pending.flush()
            except NonFiniteLossError as error:
                raise NonFiniteLossError(f"{error}; {checkpoints.way_on()}") from None
            if row is not None:
                for tracker in trackers:
                    tracker.row(row)

        step, told = start, False
        clock.start_steps()
        watch = StallWatch(clock, start=start, timeout_s=config.stall_timeout_s)
        stack.callback(watch.close)
        while True:
            stopping.turn = step + 1
            over = step >= config.steps or best.patience_is_over
            stopped = not over and stopping.at(step)

            # 1. Evaluate: at step 0, every so often, and at the end; not again after a resume, nor after a signal.
            due = step % config.validation.every == 0 or over
            if validator is not None and due and step not in validated and not stopped:
                log()
                if not told:
                    terminal.say("validating; compiling its programs first, which takes minutes for a large model")
                    told = True
                with clock.on(Part.EVAL):
                    row, pictures = validator(blueprint.for_validation(state), step)
                    row = {"step": step, "split": "val", **row}
                    best.add(row)
                    over = over or best.patience_is_over
                    for tracker in trackers:
                        tracker.row(row)
                        for name, picture in pictures.items():
                            tracker.picture(name, picture, step)

            # 2. Save: never a state whose loss has not been checked. A failed save raises here.
            checkpoints.check()
            if best.step is not None and linked != best.step and is_lead() and link_best(workdir, best.step):
                linked = best.step
            if over or stopped or best.step == step or (step % config.checkpoint.every == 0 and step > start):
                log()
                with clock.on(Part.SAVE):
                    checkpoints.keep_also(best.step)
                    checkpoints.save(step, state=state.as_dict(), stream=stream, config=config_json)
            if over or stopped or step_function is None:
                break

            with profiler.step(step + 1, state):
                # 3. Next batch.
                with clock.on(Part.DATA):
                    batch = next(stream)

                # 4. Step: dispatched, not waited for.
                state, metrics = step_function(state, batch, run)
            step += 1
            stopping.dispatched = step
            watch.note_steps(step)
            pending.add(step, metrics, batch)
            if traced := profiler.end_step(step, metrics):
                terminal.say(traced)

            # 5. Log: the only point where the host waits for the device.
            if step % config.log_every == 0 or step == config.steps:
                log()

        with clock.on(Part.SAVE):
            checkpoints.wait()
        if best.step is not None and is_lead():
            link_best(workdir, best.step)
        terminal.say(clock.summary())
        terminal.say(f"data read: {summary(stream.counts)}")
        if best.step is not None:
            terminal.say(best.summary(workdir))
        if stopped:
            terminal.say(f"stopped by a signal at step {step}, saved; run the same command again to resume")
        elif step_function is None:
            terminal.say(f"already finished at step {step}; {way_on(config, step)}")
        elif step < config.steps:
            terminal.say(f"stopped early at step {step}: {best.wait_text}; {way_on(config, step)}")
        return state
