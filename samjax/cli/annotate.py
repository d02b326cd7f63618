"""`samjax annotate`: masks that people make and correct."""

from samjax.cli import annotate_quality


def add_parser(commands, name: str) -> None:
    """Add `samjax annotate` and its actions."""
    parser = commands.add_parser(name, help="masks that people make and correct", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    annotate_quality.add_parsers(actions)
