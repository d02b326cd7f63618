"""`samjax data verify`: check that prepared data is complete and undamaged."""

import argparse

from samjax.cli.arguments import add_workers, refuse_more, whole_number
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.ranges import COUNT_OR_NONE


def add_parser(actions, name: str) -> None:
    """Add `samjax data verify`."""
    parser = actions.add_parser(
        name,
        help="recount prepared data and re-read a sample",
        description="Read every record of a prepared folder, or every pair of the tars that samjax data pack wrote; "
        "count photos, masks and areas against dataset_info.json and prepare_report.json, or pack_report.json; and "
        "decode a sample of photos and masks. If something is damaged, name it and exit with 2.",
    )
    parser.add_argument("folder", metavar="DIR", help="a folder made by samjax data prepare or pack, or by TFDS")
    parser.add_argument(
        "--sample",
        type=whole_number("--sample", COUNT_OR_NONE),
        default=100,
        metavar="N",
        help="photos to decode with their masks (default: 100)",
    )
    add_workers(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from data_pipelines.pack_verify import is_pack, verify_tars
    from data_pipelines.verify import verify

    refuse_more(rest, "data verify")
    tars = is_pack(known.folder)
    with progress("tars" if tars else "shards", total=None) as bar:

        def watch(done: int, total: int) -> None:
            bar.to(done, total=total)

        if tars:
            report = verify_tars(known.folder, sample=known.sample, watch=watch)
        else:
            report = verify(known.folder, sample=known.sample, workers=known.workers, watch=watch)
    print(report.text())
    if report.problems:
        raise UserError(
            f"{report.folder} has {len(report.problems)} problems, named above: restore what is damaged, or remove the "
            "folder and make it again"
        )
    return 0
