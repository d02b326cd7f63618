"""`samjax evaluate masks`: average precision of masks that exist already."""

import argparse

from samjax.cli.arguments import refuse_more
from samjax.cli.evaluation import (
    add_allow_missing,
    add_annotations,
    add_out,
    evaluate,
    open_annotations,
    out_folder,
)
from samjax.cli.progress_bar import progress

_DESCRIPTION = """\
Score masks that exist already as a segmenter's: a folder that `samjax generate` wrote, by predicted IoU, or COCO's
results JSON with masks, of any program. Reports average precision by COCO's rules, whatever an object's category, with
the best 100 masks per photo and with all; and precision, recall and F1 at an IoU of 0.5. Writes
results.json, table.txt, photos.csv, ap.png, worst.png and median.png to DIR."""


def add_parser(protocols, name: str) -> None:
    """Add `samjax evaluate masks`."""
    parser = protocols.add_parser(name, help="average precision of masks in files", description=_DESCRIPTION)
    parser.add_argument(
        "--predictions",
        required=True,
        metavar="JSON|DIR",
        help="COCO's results JSON with segmentation and score, or a folder of samjax generate",
    )
    add_out(parser)
    add_annotations(parser)
    add_allow_missing(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "evaluate masks")

    from samjax.eval.photo_reading import photo_key
    from samjax.eval.protocols.masks.predictions import read_predictions
    from samjax.eval.protocols.masks.protocol import match_masks_of
    from samjax.eval.protocols.masks.report import mask_results, write_report

    settings = {"predictions": known.predictions}
    request = {
        "annotations": known.annotations,
        "images": known.images,
        "limit": known.limit,
        "settings": settings,
    }

    def body(folder):
        data = open_annotations(known, out_folder(known))
        photos = data.first(known.limit)
        predictions = read_predictions(known.predictions, photos, among=data.photos, allow_missing=known.allow_missing)
        folder.check_data(
            f"{photo.fingerprint()} {predictions.masks.get(photo.id, 'not generated')}" for photo in photos
        )
        photos = [photo for photo in photos if photo.id in predictions.masks]
        truth = data.truth.of_photos([photo.id for photo in photos]).class_agnostic()
        found = []
        with progress("photos", total=len(photos)) as watch:
            for photo in photos:
                found.append(match_masks_of(photo, predictions.masks[photo.id], truth))
                if photo_key(photo) not in folder:
                    folder.record(photo_key(photo), found[-1].figures())
                watch(1)
        results = mask_results(
            truth,
            found,
            source=known.predictions,
            settings=settings,
            left_out={**data.left_out, **predictions.left_out},
            notes=[*data.notes, *_notes(data.truth, found)],
        )
        if found:
            write_report(found, folder.path, results)
        return results

    return evaluate("masks", known, body, request=request, checkpoint=known.predictions)


def _notes(truth, found) -> list[str]:
    from samjax.scores.average_precision import MOST_OF_COCO

    notes = []
    crowded = sum(one.objects > MOST_OF_COCO for one in found)
    if crowded:
        notes.append(f"{crowded:,} of the photos have more than {MOST_OF_COCO} objects: COCO's rules cannot find all")
    if truth.federated:
        notes.append("the annotations are LVIS's: masks of objects that are not annotated count as false")
    return notes
