"""`samjax plan`: predict memory, communication and time of a training run without its hardware."""

import argparse
import dataclasses
import sys
from pathlib import Path

from samjax.core.errors import UserError

_DESCRIPTION = """\
Compile the training step of EXPERIMENT.py for hardware you do not need to have, and print what it needs: bytes per
chip, communication between chips, and lower bounds on the time of a step and of the run. Everything is predicted. Exits
with 2 if the step does not fit. Override fields of the config as in `samjax train`; no data is read."""


def add_parser(commands, name: str) -> None:
    """Add `samjax plan`."""
    parser = commands.add_parser(
        name,
        help="predict memory and time of a run without its hardware",
        description=_DESCRIPTION,
        usage="samjax plan EXPERIMENT.py --topology KIND:SIZE [--json FILE] [--largest-batch] [--FIELD VALUE ...]",
        add_help=False,
    )
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT.py", help="a file that defines config()")
    parser.add_argument(
        "--topology", metavar="KIND:SIZE", help="v4:4x4x8, v5e:16x16, v5p:4x4x8, v6e:16x16, cpu:8, or another size"
    )
    parser.add_argument("--json", metavar="FILE", help="also write everything to this file")
    parser.add_argument(
        "--largest-batch", action="store_true", help="find the largest batch that fits; compiles several times"
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this, or with EXPERIMENT.py every override")
    parser.set_defaults(run=lambda known, rest: _run(parser, known, rest))


def _run(parser: argparse.ArgumentParser, known: argparse.Namespace, rest: list[str]) -> int:
    if known.experiment is None:
        parser.print_help()
        raise SystemExit(0 if known.help else 2)
    from samjax.cli.train import override
    from samjax.core.experiment import load_experiment
    from samjax.train.config import TrainConfig

    config = override(
        load_experiment(known.experiment, TrainConfig), rest, command="plan EXPERIMENT.py", show_help=known.help
    )
    if known.topology is None:
        raise UserError("samjax plan needs --topology, the chips to plan for: v5e:16x16, v5p:4x4x8, cpu:8 or others")
    return run(
        config,
        name=Path(known.experiment).stem,
        topology=known.topology,
        json=known.json,
        with_largest_batch=known.largest_batch,
    )


def run(config, *, name: str, topology: str, json: str | None = None, with_largest_batch: bool = False) -> int:
    """Plan `config`, called `name`, for `topology`, print it, write it to `json`, and return 0.

    Raises:
      UserError: it does not fit, or there is nothing to plan for.
    """
    from samjax.core.json_config import to_json
    from samjax.plan.memory import Memory, largest_batch
    from samjax.plan.report import does_not_fit, show
    from samjax.plan.step_plan import make_plan
    from samjax.plan.topology import parse_topology, topology_devices

    chips = parse_topology(topology)
    if json is not None and not Path(json).absolute().parent.is_dir():
        raise UserError(f"--json {json}: there is no folder {Path(json).absolute().parent}; make it first")
    if with_largest_batch and chips.kind == "cpu":
        raise UserError(f"--largest-batch needs chips with a known memory, and {chips} has none; give a TPU topology")
    _say(f"compiling the training step of {name} for {chips}; a large model takes minutes")
    plan = make_plan(config, chips)
    if with_largest_batch:

        def watch(photos: int, memory: Memory | None) -> None:
            _say(f"{photos} photos a step: {f'{memory.peak / 2**30:.2f} GiB a chip' if memory else 'does not fit'}")

        plan = dataclasses.replace(plan, largest_batch=largest_batch(config, topology_devices(chips), watch=watch))
    if json is not None:
        Path(json).write_text(to_json(plan) + "\n")
    show(plan, name=name)
    if not plan.fits:
        raise UserError(does_not_fit(plan, name=name))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
