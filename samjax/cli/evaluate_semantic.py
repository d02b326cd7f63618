"""`samjax evaluate semantic`: mIoU of a dense prediction model."""

import argparse
import json

from samjax.cli import semantic_options
from samjax.cli.arguments import refuse_more
from samjax.cli.evaluation import add_common, evaluate, find_checkpoint_of, out_folder, prepare_records
from samjax.cli.progress_bar import progress

_DESCRIPTION = """\
Classify the pixels of photos and compare them with their classes, at the photos' own resolution: one confusion matrix
over all photos, pixels without a class excluded; mIoU over the classes that are there, accuracy per class and of all
pixels. Data is records of `samjax data prepare --classes`; records of masks, or SA-1B's tars, have the classes
background and object. Writes results.json, table.txt, photos.csv, classes.png, confusion.png, worst.png and median.png
to DIR."""


def add_parser(protocols, name: str) -> None:
    """Add `samjax evaluate semantic`."""
    parser = protocols.add_parser(name, help="mIoU of classified pixels", description=_DESCRIPTION)
    add_common(parser)
    parser.add_argument("--data", required=True, metavar="PATH", help="records with classes, or tars in SA-1B's layout")
    parser.add_argument("--split", default="val", help="split of the records (default: val)")
    semantic_options.add_options(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "evaluate semantic")
    from samjax.core.json_config import to_json
    from samjax.eval.protocols.semantic.classed_photos import open_classed_photos
    from samjax.eval.protocols.semantic.protocol import check_classes, count_photos
    from samjax.eval.protocols.semantic.report import semantic_results, write_report
    from samjax.predict.semantic.semantic_predictor import SemanticPredictor

    config = semantic_options.prediction_config(known)
    checkpoint, out = find_checkpoint_of(known), out_folder(known)
    settings = json.loads(to_json(config))
    request = {"data": known.data, "split": known.split, "limit": known.limit, "settings": settings}

    def body(folder):
        path = prepare_records(known.data, out=out)
        split = known.split if path == known.data else "train"  # tars are prepared as one split
        data = open_classed_photos(path, split=split, limit=known.limit)
        folder.check_data(photo.fingerprint for photo in data.photos)
        predictor = SemanticPredictor.from_checkpoint(checkpoint, config)
        check_classes(data, predictor)
        with progress("photos", total=len(data.photos)) as watch:
            counted = count_photos(predictor, data, folder, watch=watch)
        results = semantic_results(data, counted, checkpoint=checkpoint, settings=settings)
        write_report(folder.path, predictor, data, counted, results)
        return results

    return evaluate("semantic", known, body, request=request, checkpoint=checkpoint)
