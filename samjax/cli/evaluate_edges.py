"""`samjax evaluate edges`: the boundary benchmark of BSDS500."""

import argparse

from samjax.cli.arguments import real_number, refuse_more
from samjax.cli.evaluation import add_allow_missing, add_common, evaluate, find_checkpoint_of
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.ranges import Range

_DESCRIPTION = """\
Detect edges in BSDS500's photos zero-shot with a checkpoint (Segment Anything, section 7.2), or with a Sobel or Canny
detector, and score them by the data set's benchmark: F at one threshold for all photos (ODS) and at each photo's best
(OIS), average precision, and recall at a precision of one half."""

_SIGMAS = Range(at_least=0, at_most=100, why="it is a number of pixels")


def add_parser(protocols, name: str) -> None:
    """Add the protocol."""
    parser = protocols.add_parser(name, help="edge detection, by the BSDS500 benchmark", description=_DESCRIPTION)
    add_common(parser, needs_checkpoint=False)
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="BSDS500 as unpacked, or a folder with images/ID.jpg and groundTruth/ID.mat",
    )
    parser.add_argument("--split", default="test", choices=("train", "val", "test"), help="default: test")
    parser.add_argument(
        "--method",
        default="sam",
        choices=("sam", "sobel", "canny"),
        help="sam, the default, needs --checkpoint; sobel and canny are baselines without a model",
    )
    parser.add_argument(
        "--sobel-sigma",
        type=real_number("--sobel-sigma", _SIGMAS),
        metavar="PIXELS",
        help="sigma of the Gaussian blur before --method sobel; 0 for none (default: 2)",
    )
    add_allow_missing(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "evaluate edges")
    if (known.checkpoint is None) == (known.method == "sam"):
        way = "give --checkpoint, or --method sobel or canny" if known.method == "sam" else "leave out --checkpoint"
        need = "needs a checkpoint" if known.method == "sam" else "has no checkpoint"
        raise UserError(f"--method {known.method} {need}: {way}")
    _check_sigma(known)

    import dataclasses

    from samjax.eval.protocols.edges.bsds import open_bsds
    from samjax.eval.protocols.edges.gradient_edges import SIGMA
    from samjax.eval.protocols.edges.protocol import baseline, conclude, detect_and_count, settings

    allowed = {"allow_missing": known.allow_missing, "allow_unannotated": known.allow_unannotated}
    dataset = open_bsds(known.data, split=known.split, **allowed)
    dataset = dataclasses.replace(dataset, photos=dataset.photos[: known.limit])
    checkpoint = known.method if known.method != "sam" else find_checkpoint_of(known)
    sigma = SIGMA if known.sobel_sigma is None else known.sobel_sigma
    about = settings(known.method, split=known.split, sigma=sigma)

    def body(folder):
        folder.check_data(f"{photo.id} {photo.height}x{photo.width}" for photo in dataset.photos)
        done = sum(photo.id in folder for photo in dataset.photos)
        if done:
            print(f"{known.out} has {done:,} of {len(dataset.photos):,} photos already", flush=True)
        if done < len(dataset.photos):
            if known.method == "sam":
                detect, batch_size = _mask_edges(checkpoint)
            else:
                detect, batch_size = baseline(known.method, sigma=sigma), 1
            with progress("photos", total=len(dataset.photos), done=done) as advance:
                detect_and_count(dataset, detect, folder, batch_size=batch_size, progress=advance)
        return conclude(dataset, folder, checkpoint=checkpoint, settings=about)

    request = {"data": known.data, "photos": len(dataset.photos), **about}
    return evaluate("edges", known, body, request=request, checkpoint=checkpoint)


def _check_sigma(known: argparse.Namespace) -> None:
    if known.sobel_sigma is None:
        return
    if known.method != "sobel":
        raise UserError(f"--sobel-sigma is for --method sobel, not {known.method}: leave it out")


def _mask_edges(checkpoint: str):
    """Return the detector and its batch size in photos."""
    from samjax.eval.protocols.edges.mask_edges import MaskEdges
    from samjax.predict.engine import Engine

    detector = MaskEdges(Engine.from_checkpoint(checkpoint))
    return detector, detector.batch_size
