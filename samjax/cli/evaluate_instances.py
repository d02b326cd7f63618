"""`samjax evaluate instances`: masks from a detector's boxes."""

import argparse

from samjax.cli.arguments import refuse_more
from samjax.cli.evaluation import (
    add_allow_missing,
    add_annotations,
    add_common,
    evaluate,
    find_checkpoint_of,
    open_annotations,
    out_folder,
)
from samjax.cli.progress_bar import progress

_DESCRIPTION = """\
Prompt with a detector's boxes, refine the masks once, and report their average precision as in section 7.4 of the
Segment Anything paper: by LVIS's rules for LVIS annotations, else by COCO's. Confidence scores are the detector's,
whose boxes are also evaluated for comparison. Writes results.json, table.txt, predictions.json, refined.json, ap.png,
worst.png and median.png to DIR."""

_TRUE = "ground-truth"


def add_parser(protocols, name: str) -> None:
    """Add `samjax evaluate instances`."""
    parser = protocols.add_parser(name, help="average precision of masks from boxes", description=_DESCRIPTION)
    add_common(parser)
    add_annotations(parser)
    parser.add_argument(
        "--boxes",
        required=True,
        metavar=f"JSON|{_TRUE}",
        help="a detector's boxes, COCO's results JSON, or those of the annotations, with score 1",
    )
    parser.add_argument("--no-refine", action="store_true", help="skip the refining pass")
    add_allow_missing(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "evaluate instances")

    from samjax.eval.protocols.instances.detections import read_detections, true_boxes
    from samjax.eval.protocols.instances.protocol import segment_photos
    from samjax.eval.protocols.instances.report import instance_results, write_report
    from samjax.predict.engine import Engine
    from samjax.predict.promptable.predictor import Predictor

    checkpoint, out = find_checkpoint_of(known), out_folder(known)
    refine = not known.no_refine
    settings = {"boxes": known.boxes, "refined": refine}
    request = {
        "annotations": known.annotations,
        "images": known.images,
        "limit": known.limit,
        "settings": settings,
    }

    def body(folder):
        data = open_annotations(known, out)
        photos = data.first(known.limit)
        if known.boxes == _TRUE:
            detections, left_out = true_boxes(data.truth, photos)
        else:
            detections, left_out = read_detections(
                known.boxes,
                photos=data.photos,
                categories=data.truth.frequencies,
                allow_missing=known.allow_missing,
            )
        folder.check_data(f"{photo.fingerprint()} {detections.get(photo.id, ())}" for photo in photos)
        engine = Engine.from_checkpoint(checkpoint)
        with progress("photos", total=len(photos)) as watch:
            segment_photos(
                Predictor(engine),
                photos,
                detections,
                folder,
                refine=refine,
                at_once=engine.ways,
                allow_missing=known.allow_missing,
                watch=watch,
            )
        results = instance_results(
            data.truth,
            photos,
            detections,
            folder,
            refine=refine,
            checkpoint=checkpoint,
            settings=settings,
            left_out={**data.left_out, **left_out},
            notes=data.notes,
        )
        write_report(data.truth, photos, folder, results, refine=refine)
        return results

    return evaluate("instances", known, body, request=request, checkpoint=checkpoint)
