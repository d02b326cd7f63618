"""`samjax train`: run an experiment file."""

import argparse
import contextlib
import io
import logging
import re
import signal
import sys
from pathlib import Path
from typing import Any

from samjax.cli.arguments import refuse_repeats, whole_number
from samjax.core import signals
from samjax.core.errors import UserError
from samjax.core.experiment import load_experiment
from samjax.core.ranges import COUNT_OR_NONE, Range

_EXIT_CODE = Range(at_least=0, at_most=255, why="a process ends with one of these codes")

log = logging.getLogger(__name__)

_DESCRIPTION = """\
Train the model that EXPERIMENT.py's config() describes. Override any field of the config by its dotted name; `samjax
train EXPERIMENT.py --help` lists them all. Run the same command again to resume from the last checkpoint."""


def add_parser(commands, name: str) -> None:
    """Add `samjax train`."""
    parser = commands.add_parser(
        name,
        help="pretrain a model",
        description=_DESCRIPTION,
        usage="samjax train EXPERIMENT.py [--workdir DIR] [--dry-run] [--profile FIRST:LAST] [--FIELD.FIELD VALUE ...]",
        add_help=False,
    )
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT.py", help="a file that defines config()")
    parser.add_argument(
        "--workdir", metavar="DIR", help="folder for checkpoints, metrics and pictures (default: runs/EXPERIMENT)"
    )
    parser.add_argument("--profile", metavar="FIRST:LAST", help="trace these steps into WORKDIR/profile, as in 10:15")
    parser.add_argument(
        "--dry-run", action="store_true", help="check data, weights and workdir on every host, without training"
    )
    parser.add_argument("--multihost", action="store_true", help="join the other hosts of this job first")
    parser.add_argument(
        "--coordinator", metavar="HOST:PORT", help="address of process 0, where JAX cannot find the other processes"
    )
    parser.add_argument("--processes", type=whole_number("--processes"), metavar="N", help="number of processes")
    parser.add_argument(
        "--process",
        type=whole_number("--process", COUNT_OR_NONE),
        metavar="I",
        help="index of this process, from 0",
    )
    parser.add_argument(
        "--stopped-code",
        type=whole_number("--stopped-code", _EXIT_CODE),
        default=0,
        metavar="N",
        help="exit code if a signal stops the run early (default: 0), for schedulers that restart it",
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this, or with EXPERIMENT.py every override")
    parser.set_defaults(run=lambda known, rest: _run(parser, known, rest))


def _run(parser: argparse.ArgumentParser, known: argparse.Namespace, rest: list[str]) -> int:
    if known.experiment is None:
        parser.print_help()
        raise SystemExit(0 if known.help else 2)
    cluster = {"coordinator": known.coordinator, "processes": known.processes, "process": known.process}
    several = known.multihost or any(value is not None for value in cluster.values())
    try:
        # No process stops alone: a signal that arrives before the processes have joined is passed on afterwards.
        with signals.noting() if several else signals.interrupting() as came:
            finished = _join_and_run(known, rest, cluster if several else None, came)
    except KeyboardInterrupt:
        print("samjax: stopped by a signal before it could save; run the same command again to resume", file=sys.stderr)
        finished = False
    return 0 if finished else known.stopped_code


def _join_and_run(known: argparse.Namespace, rest: list[str], cluster: dict[str, Any] | None, came: list[int]) -> bool:
    """Return whether the last step was taken."""
    from samjax.core.distributed import ends_all, join
    from samjax.training.config import TrainConfig
    from samjax.training.profiling import StepRange

    experiment = Path(known.experiment)
    config = override(load_experiment(experiment, TrainConfig), rest, show_help=known.help)
    profile = None if known.profile is None else StepRange.parse(known.profile, steps=config.steps)
    workdir = known.workdir or str(Path("runs") / experiment.stem)
    if cluster is not None:
        join(**cluster)
        for number in came:
            signal.raise_signal(number)
    with ends_all():
        return run(config, workdir=workdir, profile=profile, dry=known.dry_run)


def override(config, arguments: list[str], *, command: str = "train EXPERIMENT.py", show_help: bool = False):
    """Return `config` with dotted overrides applied, as `samjax COMMAND` takes them.

    Raises:
      UserError: an override that is not a field, with the nearest field, one that is given twice, or a value of
        another type.
      SystemExit: `show_help`, after printing every field.
    """
    import tyro

    refuse_repeats(arguments)
    arguments = [*arguments, "--help"] if show_help else arguments
    said = io.StringIO()
    try:
        with contextlib.nullcontext() if show_help else contextlib.redirect_stderr(said):
            return tyro.cli(type(config), default=config, args=arguments, prog=f"samjax {command}")
    except SystemExit as stop:
        if show_help or stop.code in (0, None):
            raise
        raise UserError(f"bad override: {_one_sentence(said.getvalue())}") from None


def _one_sentence(message: str) -> str:
    """Return tyro's framed message as a line."""
    words = re.sub(r"[╭╮╰╯│─╌┄]+", " ", re.sub(r"\x1b\[[0-9;]*m", "", message))
    return re.sub(r"\s+", " ", words).strip()


def run(config, *, workdir: str, profile=None, dry: bool = False) -> bool:
    """Train `config` in `workdir`, and trace the steps of `profile`, a `StepRange`; or, `dry`, see whether it could.

    Returns:
      Whether the last step was taken: a signal may end a run before.
    """
    import jax

    from samjax.core.files import is_bucket
    from samjax.core.folder import lock_folder
    from samjax.core.xla_cache import enable_compile_cache

    shared = jax.process_count() > 1 and not is_bucket(workdir)
    enable_compile_cache(shared=Path(workdir) / "compiled" if shared else None)

    from samjax.cli.dry_run import check, open_validation
    from samjax.core.distributed import is_lead, wait_for_all
    from samjax.parallel.mesh import make_mesh
    from samjax.parallel.sharding import batch_sharding, check_batch
    from samjax.training.accumulation import check_parts
    from samjax.training.best import is_over
    from samjax.training.loop import train
    from samjax.training.trackers import JsonLines

    mesh = make_mesh(config.mesh)
    check_batch("batch_size", config.batch_size, mesh)
    check_parts(config, mesh)
    if config.validation.source:
        check_batch("validation.batch_size", config.validation.batch_size, mesh)
    _check_best(config)
    with contextlib.ExitStack() as stack:
        locked = is_lead() and stack.enter_context(lock_folder(workdir))
        config = _prepared(config, Path(workdir))
        stream = (config.without_caches() if dry else config).stream(sharding=batch_sharding(mesh))
        stack.callback(stream.close)
        open_validation(config)
        if dry:
            print(check(config, mesh=mesh, stream=stream, workdir=workdir), flush=True)
            wait_for_all("every process has said what it has")
            return True
        if is_lead():
            kind = jax.devices()[0].platform
            print(f"{jax.device_count()} {kind} device(s), mesh {dict(mesh.shape)}, workdir {workdir}", flush=True)
            _tell_half_written(workdir, locked=locked)
        wait_for_all("half-written checkpoints are removed")
        state = train(config, workdir=workdir, mesh=mesh, stream=stream, profile=profile)
        return is_over(config, JsonLines.read(Path(workdir) / "metrics.jsonl"), step=int(state.step))


def _tell_half_written(workdir: str, *, locked: bool) -> None:
    """Remove partial saves of killed processes, if no other run can be writing them."""
    from etils import epath

    from samjax.checkpoint.partial_saves import partial_saves, remove_partial_saves

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


def _check_best(config) -> None:
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


def _prepared(config, workdir: Path):
    """Return `config` reading ArrayRecord: tars and photos are prepared once, under the workdir, by the lead."""
    import dataclasses

    from samjax.cli.tars import needs_preparing, prepare_once
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
