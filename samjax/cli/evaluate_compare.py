"""`samjax evaluate compare`: two evaluations of one protocol side by side."""

import argparse
from pathlib import Path

from samjax.cli.arguments import refuse_more

_DESCRIPTION = "Print the metrics of two evaluations of one protocol side by side, and draw them to a PNG."


def add_parser(protocols, name: str) -> None:
    """Add `samjax evaluate compare`."""
    parser = protocols.add_parser(name, help="two evaluations side by side", description=_DESCRIPTION)
    parser.add_argument("first", metavar="A", help="a results.json, or the folder it is in")
    parser.add_argument("second", metavar="B", help="another, of the same protocol")
    parser.add_argument("--plot", default="compare.png", metavar="FILE", help="PNG to draw (default: compare.png)")
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "evaluate compare")

    from samjax.eval.comparison import Comparison
    from samjax.eval.results import Results

    plot = Path(known.plot).expanduser()
    comparison = Comparison.of(Results.read(known.first), Results.read(known.second))
    print(comparison.table())
    comparison.plot(plot)
    print(f"\ndrawn to {plot}", flush=True)
    return 0
