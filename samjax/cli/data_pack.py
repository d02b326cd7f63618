"""`samjax data pack`: generated or annotated photos to tars in SA-1B's layout."""

import argparse
import sys

from samjax.cli.arguments import add_workers, refuse_more, whole_number
from samjax.cli.progress_bar import progress

_DESCRIPTION = """\
Pack the pairs sa_<id>.jpg and sa_<id>.json of DIR, a folder of samjax generate (all of its parts), of samjax annotate
or any other in SA-1B's layout, into tars sa_000000.tar and so on, in the order of their ids: what samjax data prepare
and training read. The same pairs give the same bytes. After an interruption, run the same command again: it resumes.
Pairs that are incomplete or damaged are dropped and counted; more than 1% of them end the command."""


def add_parser(actions, name: str) -> None:
    """Add `samjax data pack`."""
    from data_pipelines.pack_report import PHOTOS_PER_TAR

    parser = actions.add_parser(name, help="generated or annotated photos to SA-1B tars", description=_DESCRIPTION)
    parser.add_argument("folder", metavar="DIR", help="a folder of samjax generate or samjax annotate")
    parser.add_argument(
        "--out", required=True, metavar="TARS", help="folder to write, or to resume; gs:// and s3:// too"
    )
    parser.add_argument(
        "--photos-per-tar",
        type=whole_number("--photos-per-tar"),
        default=PHOTOS_PER_TAR,
        metavar="N",
        help=f"photos in a tar (default: {PHOTOS_PER_TAR:,}, as in SA-1B's release)",
    )
    add_workers(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from data_pipelines.pack import pack

    refuse_more(rest, "data pack")
    try:
        with progress("tars", total=None) as bar:
            report = pack(
                known.folder,
                known.out,
                photos_per_tar=known.photos_per_tar,
                workers=known.workers,
                watch=lambda state: bar.to(state.tars, total=state.tars_total),
            )
    except KeyboardInterrupt:
        print(f"stopped; run the same command again to resume {known.out}", file=sys.stderr)
        return 130
    print(f"{known.out}: {report.text()}")
    return 0
