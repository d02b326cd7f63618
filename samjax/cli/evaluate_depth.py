"""`samjax evaluate depth`: errors of a model for depth."""

import argparse

from samjax.cli.arguments import real_number, refuse_more
from samjax.cli.evaluation import add_common, evaluate, find_checkpoint_of
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.ranges import Range

_DESCRIPTION = """\
Predict the depth of photos and compare it with the measured one, at the photos' own resolution: AbsRel, RMSE, log10
and the shares within factors of 1.25, 1.25^2 and 1.25^3, means over photos. Data is records of `samjax data prepare
--format depth`. Inverse depth is aligned to each photo's truth first. Writes results.json, table.txt, photos.csv,
worst.png and median.png to DIR."""
_FARTHEST = Range(above=1e-3, why="it is a distance in metres")
_CROPS = ("whole", "eigen-nyu", "eigen-kitti", "garg")
"""Values of `samjax.scores.depth_errors.DepthCrop`; listed so that `--help` imports nothing."""


def add_parser(protocols, name: str) -> None:
    """Add `samjax evaluate depth`."""
    parser = protocols.add_parser(name, help="errors of depth", description=_DESCRIPTION)
    add_common(parser)
    parser.add_argument("--data", required=True, metavar="RECORDS", help="records with depth")
    parser.add_argument("--split", default="val", help="split of the records (default: val)")
    parser.add_argument(
        "--align",
        choices=("scale-shift", "median", "none"),
        default="scale-shift",
        help="how inverse depth becomes metres: by least squares against each photo's truth (default), by its median, "
        "or by --calibration, without the truth",
    )
    parser.add_argument(
        "--calibration", choices=("nyu", "kitti"), help="--align none: the constants of DPT-Hybrid fine-tuned on this"
    )
    parser.add_argument(
        "--crop",
        choices=_CROPS,
        default="whole",
        help="the part of a photo that is scored: all (default), NYU Depth v2's, or KITTI's by Eigen et al. or Garg et "
        "al.",
    )
    parser.add_argument(
        "--farthest",
        type=real_number("--farthest", _FARTHEST),
        metavar="METRES",
        help="score nothing from here on (default: 80, with --crop eigen-nyu 10)",
    )
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "evaluate depth")
    if (known.align == "none") != (known.calibration is not None):
        raise UserError("--align none needs --calibration, nyu or kitti, and no other --align takes one")
    from samjax.eval.protocols.depth.protocol import Alignment, DepthScoring, open_depth_photos, score_photos
    from samjax.eval.protocols.depth.report import depth_results, write_report
    from samjax.predict.semantic.depth_predictor import DepthPredictor
    from samjax.scores.depth_errors import KITTI, NYU, DepthCrop, DepthProtocol

    crop = DepthCrop(known.crop)
    usual = NYU.farthest if crop is NYU.crop else KITTI.farthest
    farthest = usual if known.farthest is None else known.farthest
    scoring = DepthScoring(
        protocol=DepthProtocol(farthest=farthest, crop=crop),
        align=Alignment(known.align),
        calibration=known.calibration,
    )
    checkpoint = find_checkpoint_of(known)
    settings = {"align": known.align, "calibration": known.calibration, "crop": known.crop, "farthest": farthest}
    request = {"data": known.data, "split": known.split, "limit": known.limit, "settings": settings}

    def body(folder):
        photos = open_depth_photos(known.data, split=known.split, limit=known.limit)
        folder.check_data(photo.fingerprint for photo in photos)
        predictor = DepthPredictor.from_checkpoint(checkpoint)
        with progress("photos", total=len(photos)) as watch:
            scored = score_photos(predictor, photos, scoring, folder, watch=watch)
        results = depth_results(known.split, scored, checkpoint=checkpoint, settings=settings)
        write_report(folder.path, predictor, scoring, scored)
        return results

    return evaluate("depth", known, body, request=request, checkpoint=checkpoint)
