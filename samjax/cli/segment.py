"""`samjax segment`: a class for every pixel of many photos."""

import argparse
import functools
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from samjax.cli import semantic_options
from samjax.cli.arguments import refuse_more
from samjax.core.errors import UserError
from samjax.core.folder import check_can_write

_DESCRIPTION = """\
Classify every pixel of the photos that PATH names, by a dense prediction model such as SegFormer. Writes to DIR, for
each photo, labels/NAME.png, each pixel its class's number with the classes' colours as palette, and overlays/NAME.png,
the photo tinted, with a legend. segment.json says which class has which number. Of a model for depth (DPT),
labels/NAME.png is inverse relative depth as grey of 16 bits, from the least to the greatest of the photo. Run the same
command again to resume. Photos that cannot be read are listed at the end."""


def add_parser(commands, name: str) -> None:
    """Add `samjax segment`."""
    parser = commands.add_parser(name, help="a class for every pixel of photos", description=_DESCRIPTION)
    parser.add_argument("--checkpoint", required=True, metavar="C", help="a run's workdir, a checkpoint, or weights")
    parser.add_argument(
        "--images",
        required=True,
        action="extend",
        nargs="+",
        metavar="PATH",
        help="photos, tars of photos, or quoted patterns of either: 'photos/*.jpg', 'gs://bucket/*.tar'; or a folder "
        "made by samjax data prepare",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write, or to resume")
    parser.add_argument("--labels-only", action="store_true", help="draw no overlays")
    parser.add_argument(
        "--last-step", action="store_true", help="use the last step's parameters, not the average of a run with --ema"
    )
    semantic_options.add_options(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "segment")
    check_can_write(known.out)
    from samjax.checkpoint.weights import find_checkpoint
    from samjax.cli.generate import find_photos
    from samjax.core.json_config import to_json
    from samjax.predict.semantic.dense_engine import DenseEngine
    from samjax.predict.semantic.depth_predictor import DepthPredictor
    from samjax.predict.semantic.label_folder import open_label_folder
    from samjax.predict.semantic.semantic_predictor import SemanticPredictor

    config = semantic_options.prediction_config(known)
    checkpoint = str(find_checkpoint(known.checkpoint))
    photos = find_photos(known.images, out=Path(known.out))
    engine = DenseEngine.from_checkpoint(checkpoint, average=not known.last_step)
    gives_depth = engine.config.head.GIVES_DEPTH
    predictor = DepthPredictor(engine) if gives_depth else SemanticPredictor(engine, config)
    folder = open_label_folder(
        known.out,
        checkpoint=checkpoint,
        settings={**json.loads(to_json(config)), "last_step": known.last_step},
        photos=[place.key for place in photos],
        classes=() if isinstance(predictor, DepthPredictor) else predictor.names,
        colours=() if isinstance(predictor, DepthPredictor) else predictor.colours,
    )
    todo = [place for place in photos if not folder.is_done(place.key)]
    if len(todo) < len(photos):
        print(f"{folder.path} has {len(photos) - len(todo):,} of {len(photos):,} photos already", flush=True)
    if todo:
        write = folder.write_depth if gives_depth else folder.write
        _segment(predictor, todo, folder, write=functools.partial(write, draw=not known.labels_only))
    return 0


def _segment(predictor: Any, photos: Sequence[Any], folder: Any, *, write: Callable[..., None]) -> None:
    """Classify photos, and `write` the answer of each, given its key and its pixels.

    Raises:
      UserError: some could not be read; the others are done.
    """
    from samjax.cli.mask_generation import Outcome, batches_ahead
    from samjax.cli.progress_bar import progress

    outcome, started = Outcome(), time.perf_counter()
    with progress("photos", total=len(photos)) as bar, ThreadPoolExecutor(2) as pool:
        for batch in batches_ahead(pool, photos, size=predictor.ways):
            outcome.unreadable |= {place.key: str(error) for place, error in batch if isinstance(error, UserError)}
            loaded = [(place, photo) for place, photo in batch if not isinstance(photo, UserError)]
            found = predictor.predict_each([photo.pixels for _, photo in loaded]) if loaded else []
            for (place, photo), answer in zip(loaded, found, strict=True):
                write(place.key, photo.pixels, answer)
            outcome.photos += len(loaded)
            bar(len(batch))
    if outcome.photos:
        print(f"{outcome.photos:,} photos in {time.perf_counter() - started:.1f} s: {folder.path}", flush=True)
    if outcome.unreadable:
        raise UserError(outcome.unreadable_sentence())
