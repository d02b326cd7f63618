"""`samjax data prepare`: SA-1B tars to records."""

import argparse
import dataclasses
import json

from samjax.core.errors import UserError


def add_parser(actions, name: str) -> None:
    """Add `samjax data prepare`."""
    parser = actions.add_parser(
        name,
        help="SA-1B tars to ArrayRecord shards",
        description="Read SA-1B style tars (sa_<id>.jpg and sa_<id>.json members) into ArrayRecord shards with TFDS's "
        "segment_anything schema. JPEG bytes are kept as they are.",
    )
    parser.add_argument("--source", required=True, help="a tar, a folder of tars, or a quoted glob of tars")
    parser.add_argument("--out", required=True, help="folder to write; it must not hold prepared data yet")
    parser.add_argument("--split", default="train", help="name of the split (default: train)")
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from data_pipelines import sa1b

    if rest:
        raise UserError(f"samjax data prepare does not know {' '.join(rest)}; see samjax data prepare --help")
    report = sa1b.prepare(known.source, known.out, split=known.split)
    print(json.dumps(dataclasses.asdict(report), indent=2))
    return 0
