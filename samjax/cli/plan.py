"""`samjax plan`: predict memory, communication and time of a training run without its hardware."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from samjax.core.errors import UserError

_DESCRIPTION = """\
Compile the training step of EXPERIMENT.py for hardware you do not need to have, and print what it needs: bytes per
chip, communication between chips, and lower bounds on the time of a step and of the run. Everything is predicted. Exits
with 2 if the step does not fit. Override fields of the config as in `samjax train`; no data is read. --compare plans
the run a second time, with other values, and prints both plans side by side."""


def add_parser(commands, name: str) -> None:
    """Add `samjax plan`."""
    parser = commands.add_parser(
        name,
        help="predict memory and time of a run without its hardware",
        description=_DESCRIPTION,
        usage="samjax plan EXPERIMENT.py --topology KIND:SIZE [--json FILE] [--largest-batch] "
        "[--compare FIELD=VALUE ...] [--FIELD VALUE ...]",
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
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="plan once more with these values, as in model.image-encoder.remat=DOTS, and print both side by side",
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this, or with EXPERIMENT.py every override")
    parser.set_defaults(run=lambda known, rest: _run(parser, known, rest))


def _run(parser: argparse.ArgumentParser, known: argparse.Namespace, rest: list[str]) -> int:
    if known.experiment is None:
        parser.print_help()
        raise SystemExit(0 if known.help else 2)
    from samjax.cli.train import override
    from samjax.core.experiment import load_experiment
    from samjax.training.config import TrainConfig

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
        changes=known.compare,
    )


def with_changes(config, changes: Sequence[str]):
    """Return `config` with `changes`, each FIELD=VALUE, a field by its name on the command line.

    Raises:
      UserError: one is not of that form, no such field, or a value that it does not take.
    """
    from samjax.cli.train import override

    arguments = []
    for change in changes:
        name, sign, value = change.partition("=")
        if not sign or not name or not value:
            raise UserError(f"--compare {change}: give FIELD=VALUE, as in model.image-encoder.remat=DOTS")
        arguments += _arguments(config, name.removeprefix("--"), value)
    try:
        return override(config, arguments, command="plan EXPERIMENT.py")
    except UserError as error:
        raise UserError(f"--compare {' '.join(changes)}: {error}") from None


def _arguments(config, name: str, value: str) -> list[str]:
    """Return an override as `samjax train` takes it: truth values are flags, tuples are words."""
    current = config
    for part in name.replace("-", "_").split("."):
        current = getattr(current, part, None)
    if isinstance(current, bool) and value.lower() in ("true", "false"):
        *parents, last = name.split(".")
        return ["--" + ".".join([*parents, last if value.lower() == "true" else f"no-{last}"])]
    return [f"--{name}", *(value.split() if isinstance(current, tuple) else [value])]


def run(
    config,
    *,
    name: str,
    topology: str,
    json: str | None = None,
    with_largest_batch: bool = False,
    changes: Sequence[str] = (),
) -> int:
    """Plan `config`, called `name`, for `topology`, print it, write it to `json`, and return 0.

    Args:
      changes: fields to compare with, each FIELD=VALUE; then both plans are printed side by side and written.

    Raises:
      UserError: it does not fit, or there is nothing to plan for.
    """
    from samjax.core.json_config import to_json
    from samjax.plan.memory import check_step
    from samjax.plan.plan_pair import Comparison, show_comparison
    from samjax.plan.report import does_not_fit, show
    from samjax.plan.topology import parse_topology, topology_devices

    chips = parse_topology(topology)
    if json is not None and not Path(json).absolute().parent.is_dir():
        raise UserError(f"--json {json}: there is no folder {Path(json).absolute().parent}; make it first")
    if with_largest_batch and chips.kind == "cpu":
        raise UserError(f"--largest-batch needs chips with a known memory, and {chips} has none; give a TPU topology")
    configs = {name: config}
    if changes:
        configs[f"{name} with {', '.join(changes)}"] = with_changes(config, changes)
    devices = topology_devices(chips)
    for one in configs.values():
        check_step(one, devices)
    plans = {label: _plan(one, chips, label, with_largest_batch) for label, one in configs.items()}
    plan = plans[name]
    if changes:
        comparison = Comparison(changes=tuple(changes), plan=plan, other=list(plans.values())[1])
        if json is not None:
            Path(json).write_text(to_json(comparison) + "\n")
        show_comparison(comparison, name=name)
    else:
        if json is not None:
            Path(json).write_text(to_json(plan) + "\n")
        show(plan, name=name)
    if unfit := [does_not_fit(one, name=label) for label, one in plans.items() if not one.fits]:
        raise UserError("; ".join(unfit))
    return 0


def _plan(config, chips, name: str, with_largest_batch: bool):
    """Return the plan of `config`, telling the user what is compiled."""
    from samjax.plan.largest import Probe, largest_batch
    from samjax.plan.step_plan import make_plan
    from samjax.plan.topology import topology_devices

    _say(f"compiling the training step of {name} for {chips}; a large model takes minutes")
    plan = make_plan(config, chips)
    if not with_largest_batch:
        return plan
    peak = plan.memory.peak if plan.fits and plan.memory is not None else plan.needed

    def watch(photos: int, probe: Probe) -> None:
        size = "" if probe.bytes is None else f"{probe.bytes / 2**30:.2f} GiB a chip"
        said = size if probe.fits else f"does not fit{size and f', needs {size}'}"
        _say(f"{photos} photos a step: {said}")

    known = Probe(fits=plan.fits, bytes=peak)
    watch(config.batch_size, known)
    found = largest_batch(config, topology_devices(chips), known=known, watch=watch)
    return dataclasses.replace(plan, largest_batch=found)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
