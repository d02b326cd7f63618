"""A run in its workdir, from a config: data prepared where need be, every check made before the first step."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import jax
from etils import epath
from jax.sharding import Mesh

from samjax.api.dry_run import check, open_validation
from samjax.api.tars import needs_preparing, prepare_once
from samjax.checkpoint.partial_saves import partial_saves, remove_partial_saves
from samjax.core.distributed import is_lead, wait_for_all
from samjax.core.errors import UserError
from samjax.core.files import is_bucket
from samjax.core.folder import lock_folder
from samjax.core.xla_cache import enable_compile_cache
from samjax.data.stream.loader import TrainStream
from samjax.parallel.mesh import make_mesh
from samjax.parallel.sharding import batch_sharding, check_batch
from samjax.training.accumulation import check_parts
from samjax.training.best import is_over
from samjax.training.config import TrainConfig
from samjax.training.loop import train as train_steps
from samjax.training.profiling import StepRange
from samjax.training.trackers import JsonLines, Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What became of a run; it is continued by training the same config in the same workdir."""

    workdir: str
    """The folder of checkpoints, metrics and pictures; `samjax.load` takes it."""
    step: int
    """Updates so far."""
    is_over: bool
    """Whether the last step was taken, or the run stopped early as its config says; a signal may end it before."""
    rows: tuple[Row, ...] = ()
    """What metrics.jsonl holds: `step`, `split` and figures of training and of validations."""

    @property
    def validation(self) -> dict[str, float]:
        """Figures of the last validation; empty if there was none."""
        rows = [row for row in self.rows if row.get("split") == "val"]
        return {name: float(value) for name, value in rows[-1].items() if name not in ("step", "split")} if rows else {}


def train(config: TrainConfig, *, workdir: str | Path, profile: StepRange | None = None) -> TrainingRun:
    """Train `config` in `workdir`, as `samjax train` does; a run that is there is resumed from its last checkpoint.

        run = samjax.train(samjax.experiment("experiments/sam/smoke.py"), workdir="runs/smoke")
        print(run.validation["miou@1"])

    Prints what the command prints. In the main thread SIGTERM and Ctrl-C save a checkpoint and end the run. Compiled
    programs are kept in the user's cache, which is turned on for the whole process.

    Args:
      config: a task's, such as that of an experiment file.
      workdir: folder for checkpoints, metrics and pictures, made if it is not there.
      profile: steps to trace into WORKDIR/profile.

    Raises:
      UserError: the config does not fit the devices, data or weights cannot be used, or the workdir holds another run.
    """
    workdir = str(workdir)
    with _inputs(config, workdir) as run:
        if is_lead():
            kind, shape = jax.devices()[0].platform, dict(run.mesh.shape)
            print(f"{jax.device_count()} {kind} device(s), mesh {shape}, workdir {workdir}", flush=True)
            _tell_half_written(workdir, locked=run.locked)
        wait_for_all("half-written checkpoints are removed")
        state = train_steps(run.config, workdir=workdir, mesh=run.mesh, stream=run.stream, profile=profile)
        rows, step = tuple(JsonLines.read(epath.Path(workdir) / "metrics.jsonl")), int(state.step)
        return TrainingRun(workdir=workdir, step=step, is_over=is_over(run.config, rows, step=step), rows=rows)


def rehearse(config: TrainConfig, *, workdir: str | Path) -> str:
    """Return what each process of a run finds, in a line, without training: see `samjax.api.dry_run.check`.

    Raises:
      UserError: as `train`.
    """
    workdir = str(workdir)
    with _inputs(config, workdir, dry=True) as run:
        return check(run.config, mesh=run.mesh, stream=run.stream, workdir=workdir)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What a run starts from: its config reads records."""

    config: TrainConfig
    mesh: Mesh
    stream: TrainStream
    locked: bool
    """Whether no other run can use the workdir."""


@contextlib.contextmanager
def _inputs(config: TrainConfig, workdir: str, *, dry: bool = False) -> Iterator[_Inputs]:
    """Check the config against the devices, lock the workdir, prepare the data and open the stream.

    A `dry` run fills no caches, so its stream has none.
    """
    shared = jax.process_count() > 1 and not is_bucket(workdir)
    enable_compile_cache(shared=Path(workdir) / "compiled" if shared else None)
    mesh = make_mesh(config.mesh)
    check_batch("batch_size", config.batch_size, mesh)
    check_parts(config, mesh)
    if config.validation.source:
        check_batch("validation.batch_size", config.validation.batch_size, mesh)
    _check_best(config)
    with contextlib.ExitStack() as stack:
        locked = is_lead() and stack.enter_context(lock_folder(workdir))
        config = _prepared(config, Path(workdir)).complete()
        stream = (config.without_caches() if dry else config).stream(sharding=batch_sharding(mesh))
        stack.callback(stream.close)
        open_validation(config)
        yield _Inputs(config=config, mesh=mesh, stream=stream, locked=locked)


def _tell_half_written(workdir: str, *, locked: bool) -> None:
    """Remove partial saves of killed processes, if no other run can be writing them."""
    checkpoints = epath.Path(workdir) / "checkpoints"
    count, size = remove_partial_saves(checkpoints) if locked else (0, 0)
    if count:
        print(f"removed {count} half-written checkpoint(s) of killed runs, {size / 1e6:,.1f} MB", flush=True)
    if left := partial_saves(checkpoints):
        why = "cannot be deleted" if locked else f"stay, since {workdir} cannot be locked"
        print(
            f"{len(left)} half-written checkpoint(s) in {checkpoints} {why}, such as {left[0].name}; delete them when "
            "no run uses it",
            flush=True,
        )


def _check_best(config: TrainConfig) -> None:
    """Refuse a metric for the best checkpoint that the run's validation does not report.

    Raises:
      UserError: there is no validation, or it reports others.
    """
    best, figures = config.checkpoint.best, config.validation_figures()
    if best and not config.validation.source:
        raise UserError(f"checkpoint.best is {best!r}, but there is no validation: give validation.source")
    if best and best not in figures:
        names = ", ".join(figures)
        raise UserError(f"checkpoint.best is {best!r}, which validation does not report; it reports {names}")


def _prepared(config: TrainConfig, workdir: Path) -> TrainConfig:
    """Return `config` reading ArrayRecord: tars and photos are prepared once, under the workdir, by the lead."""
    import dataclasses

    from samjax.core.distributed import is_lead, wait_for_all

    schema = config.examples(config.data, augment=True).schema

    def prepared(source: str, split: str) -> str:
        if not needs_preparing(source, schema):
            return source
        out = workdir / "records" / split
        if is_lead():
            prepare_once(source, out, split=split, schema=schema)
        wait_for_all(f"{source} is prepared")
        return str(out)

    data, validation = config.data, config.validation
    return dataclasses.replace(
        config,
        data=dataclasses.replace(data, source=prepared(data.source, data.split)),
        validation=dataclasses.replace(validation, source=prepared(validation.source, validation.split)),
    )
