"""`samjax data`: raw data to records."""

import argparse
import dataclasses
import json

from samjax.core.errors import UserError


def add_parser(commands, name: str) -> None:
    """Add `samjax data` and its subcommands."""
    parser = commands.add_parser(name, help="prepare data for training", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = actions.add_parser(
        "prepare",
        help="SA-1B tars to ArrayRecord shards",
        description="Read SA-1B style tars (sa_<id>.jpg and sa_<id>.json members) into ArrayRecord shards with TFDS's "
        "segment_anything schema. JPEG bytes are kept as they are.",
    )
    prepare.add_argument("--source", required=True, help="a tar, a folder of tars, or a quoted glob of tars")
    prepare.add_argument("--out", required=True, help="folder to write; it must not hold prepared data yet")
    prepare.add_argument("--split", default="train", help="name of the split (default: train)")
    prepare.set_defaults(run=_prepare)


def _prepare(known: argparse.Namespace, rest: list[str]) -> int:
    from data_pipelines import sa1b

    if rest:
        raise UserError(f"samjax data prepare does not know {' '.join(rest)}; see samjax data prepare --help")
    report = sa1b.prepare(known.source, known.out, split=known.split)
    print(json.dumps(dataclasses.asdict(report), indent=2))
    return 0
