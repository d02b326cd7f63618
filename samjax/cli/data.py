"""`samjax data`: prepare, pack, verify and inspect data, one module per action."""

from samjax.cli import data_inspect, data_pack, data_prepare, data_verify

_ACTIONS = {"prepare": data_prepare, "pack": data_pack, "verify": data_verify, "inspect": data_inspect}


def add_parser(commands, name: str) -> None:
    """Add `samjax data` and its actions."""
    parser = commands.add_parser(name, help="prepare data for training", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, module in _ACTIONS.items():
        module.add_parser(actions, action)
