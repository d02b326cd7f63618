"""`samjax annotate sample` and `samjax annotate agreement`: how good masks are, by what people correct in a sample."""

import argparse
from pathlib import Path

from samjax.cli.arguments import refuse_more, whole_number
from samjax.cli.progress_bar import progress
from samjax.core.files import write_whole
from samjax.core.folder import check_can_write
from samjax.core.ranges import SEED

_SAMPLE = """\
Draw photos with their masks from DIR, a folder of samjax generate (all of its parts) or any other in SA-1B's layout,
for people to correct. The same DIR, seed and number give the same sample."""
_AGREEMENT = """\
Compare the masks of BEFORE with those of AFTER, the same photos corrected: the share of pairs above 0.90 and 0.75 IoU,
as the paper measures the quality of SA-1B. Photos are matched by id, masks by uuid, or by id where they have none."""


def add_parsers(actions) -> None:
    """Add `samjax annotate sample` and `samjax annotate agreement`."""
    sample = actions.add_parser("sample", help="photos with masks, for people to correct", description=_SAMPLE)
    sample.add_argument("folder", metavar="DIR", help="folder to draw from")
    sample.add_argument("--out", required=True, metavar="SAMPLE", help="folder to write")
    sample.add_argument(
        "--photos", type=whole_number("--photos"), default=500, metavar="N", help="how many (default: 500, the paper's)"
    )
    sample.add_argument(
        "--seed", type=whole_number("--seed", SEED), default=0, metavar="S", help="of the draw (default: 0)"
    )
    sample.set_defaults(run=_draw)
    agreement = actions.add_parser("agreement", help="IoU of masks before and after correction", description=_AGREEMENT)
    agreement.add_argument("before", metavar="BEFORE", help="folder in SA-1B's layout")
    agreement.add_argument("after", metavar="AFTER", help="the same, corrected")
    agreement.add_argument("--out", metavar="FILE.json", help="also write the figures to this file")
    agreement.set_defaults(run=_compare)


def _draw(known: argparse.Namespace, rest: list[str]) -> int:
    from data_pipelines.pair_sample import draw_sample

    refuse_more(rest, "annotate sample")
    report = draw_sample(known.folder, known.out, photos=known.photos, seed=known.seed)
    state = "" if report.is_new else ", drawn before and left as it is"
    print(f"{known.out}: {report.photos:,} of {report.among:,} photos with {report.masks:,} masks{state}")
    return 0


def _compare(known: argparse.Namespace, rest: list[str]) -> int:
    from samjax.eval.corrected_folders import compare_folders

    refuse_more(rest, "annotate agreement")
    if known.out is not None:
        check_can_write(Path(known.out).absolute().parent)
    with progress("photos", total=None) as bar:
        found = compare_folders(known.before, known.after, watch=lambda: bar(1))
    print(found.text())
    if known.out is not None:
        write_whole(known.out, found.to_json())
    return 0
