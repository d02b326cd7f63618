"""`samjax evaluate`: zero-shot protocols."""

from samjax.cli import (
    evaluate_compare,
    evaluate_depth,
    evaluate_edges,
    evaluate_instances,
    evaluate_masks,
    evaluate_point_to_mask,
    evaluate_proposals,
    evaluate_semantic,
)

PROTOCOLS = {
    "point-to-mask": evaluate_point_to_mask,
    "edges": evaluate_edges,
    "proposals": evaluate_proposals,
    "instances": evaluate_instances,
    "masks": evaluate_masks,
    "semantic": evaluate_semantic,
    "depth": evaluate_depth,
    "compare": evaluate_compare,
}


def add_parser(commands, name: str) -> None:
    """Add `samjax evaluate`, with one subcommand per protocol."""
    parser = commands.add_parser(name, help="evaluate a checkpoint zero-shot", description=__doc__)
    protocols = parser.add_subparsers(dest="protocol", required=True, metavar="PROTOCOL")
    for protocol, module in PROTOCOLS.items():
        module.add_parser(protocols, protocol)
