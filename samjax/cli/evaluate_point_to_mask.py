"""`samjax evaluate point-to-mask`: single and repeated clicks."""

import argparse
import dataclasses
import json
from pathlib import Path

from samjax.cli.arguments import whole_number
from samjax.cli.evaluation import (
    add_allow_missing,
    add_clicks,
    add_common,
    evaluate,
    find_checkpoint_of,
    open_images,
    out_folder,
    prepare_records,
)
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.ranges import SEED

_DESCRIPTION = """\
Click on every object of one or more data sets, first once and then where the mask is wrong, and report the mean IoU
after given numbers of clicks, as in section 7.1 of the Segment Anything paper: for the mask with the highest predicted
IoU, and for the best of the three masks after the first click. Writes results.json, table.txt, photos.csv, clicks.png,
worst.png and median.png to DIR."""


def add_parser(protocols, name: str) -> None:
    """Add `samjax evaluate point-to-mask`."""
    from samjax.data.annotations.formats import Format, FormatOptions

    options = " ".join(f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(FormatOptions))
    parser = protocols.add_parser(
        name, help="mean IoU after clicks", description=_DESCRIPTION, epilog=f"Options of formats: {options}"
    )
    add_common(parser)
    parser.add_argument(
        "--data",
        required=True,
        action="extend",
        nargs="+",
        metavar="[NAME=]PATH",
        help="data sets: each a path, or NAME=PATH for one of the paper's, as in cityscapes=/data/cityscapes",
    )
    formats = [format.value for format in Format]
    parser.add_argument("--format", choices=formats, help="format of data sets whose path does not tell")
    parser.add_argument(
        "--images", metavar="PATH", help="photos that belong to a JSON of annotations: a folder, tars or records"
    )
    parser.add_argument(
        "--most-masks",
        type=whole_number("--most-masks"),
        metavar="N",
        help="evaluate a random subset of each data set: whole photos with about N masks",
    )
    add_clicks(parser)
    parser.add_argument(
        "--first-click",
        choices=("center", "random"),
        default="center",
        help="where to place the first click on an object",
    )
    parser.add_argument("--seed", type=whole_number("--seed", SEED), default=0, help="seed of random first clicks")
    add_allow_missing(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from samjax.cli.train import override
    from samjax.data.annotations.formats import FormatOptions
    from samjax.eval.protocols.point_to_mask.clicking import ClickConfig, FirstClick

    config = ClickConfig(clicks=tuple(known.clicks), first=FirstClick(known.first_click), seed=known.seed)
    options = override(FormatOptions(), rest, command="evaluate point-to-mask")

    from samjax.core.json_config import to_json
    from samjax.eval.protocols.point_to_mask.protocol import click_datasets
    from samjax.eval.protocols.point_to_mask.report import click_results, write_report
    from samjax.predict.engine import Engine
    from samjax.predict.promptable.predictor import Predictor

    checkpoint, out = find_checkpoint_of(known), out_folder(known)
    request = {
        "data": known.data,
        "format": known.format,
        "options": json.loads(to_json(options)),
        "images": known.images,
        "most masks": known.most_masks,
        "limit": known.limit,
        "settings": {"clicks": known.clicks, "first click": known.first_click, "seed": known.seed},
    }

    def body(folder):
        datasets, notes = _open(known, options, out)
        folder.check_data(f"{dataset.name}/{photo.fingerprint()}" for dataset in datasets for photo in dataset.photos)
        engine = Engine.from_checkpoint(checkpoint)
        predictor = Predictor(engine)
        with progress("photos", total=sum(len(dataset.photos) for dataset in datasets)) as watch:
            outcome = click_datasets(
                predictor,
                datasets,
                folder,
                config=config,
                at_once=engine.ways,
                allow_missing=known.allow_missing,
                watch=watch,
            )
        results = click_results(
            datasets, outcome.clicks, config=config, checkpoint=checkpoint, left_out=outcome.left_out, notes=notes
        )
        write_report(out, predictor, datasets, outcome.clicks, results, config)
        return results

    return evaluate("point-to-mask", known, body, request=request, checkpoint=checkpoint)


def _open(known: argparse.Namespace, options, out: Path):
    """Return the data sets, and notes that a reader of the results needs."""
    from samjax.data.annotations.open_dataset import open_dataset

    images = None if known.images is None else open_images(known.images, out=out)
    opened = [
        open_dataset(
            spec,
            format=known.format,
            images=images,
            options=options,
            most_masks=known.most_masks,
            limit=known.limit,
            allow_missing=known.allow_missing,
            allow_unannotated=known.allow_unannotated,
            progress=progress,
            prepare=lambda path: prepare_records(path, out=out),
        )
        for spec in known.data
    ]
    names = [one.dataset.name for one in opened]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"--data gives two data sets the name {twice[0]}: give each its own name, as NAME=PATH")
    notes = [note for one in opened for note in one.notes]
    if known.limit is not None:
        notes.append(f"only the first {known.limit:,} photos of each data set")
    return [one.dataset for one in opened], notes
