"""`samjax compare`: training runs beside a reference."""

import argparse
from pathlib import Path

from samjax.cli.arguments import refuse_more

_DESCRIPTION = """\
Draw the curves of training runs over a reference's, and print where they part: the first step from which a figure's
smoothed difference leaves the reference's own noise. Prints the config fields that differ and the final figures, too. A
run is a workdir, or a folder with its metrics.jsonl and config.json, as runs/reference holds them."""


def add_parser(commands, name: str) -> None:
    """Add `samjax compare`."""
    parser = commands.add_parser(name, help="training curves beside a reference's", description=_DESCRIPTION)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="one or more runs")
    parser.add_argument("reference", metavar="REFERENCE", help="the run to compare with")
    parser.add_argument("--out", default="compare.png", metavar="FILE", help="PNG to draw (default: compare.png)")
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "compare")

    from samjax.core.errors import UserError
    from samjax.runs.run_comparison import RunComparison
    from samjax.runs.run_history import RunHistory

    out = Path(known.out).expanduser()
    if out.suffix.lower() != ".png":
        raise UserError(f"--out {known.out} must end in .png: it is a picture")
    comparison = RunComparison(
        runs=[RunHistory.read(folder) for folder in known.runs], reference=RunHistory.read(known.reference)
    )
    print(comparison.text())
    comparison.plot(out)
    print(f"\ndrawn to {out}", flush=True)
    return 0
