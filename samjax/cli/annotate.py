"""`samjax annotate`: the browser annotator, and what is done with the folder that it leaves."""

import argparse
import json
import secrets
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from samjax.annotate.queue_config import QueueConfig, QueueMode, QueueOrder
from samjax.annotate.server import ServerConfig, address, listening, serve
from samjax.cli import annotate_quality, annotate_retrain
from samjax.cli.arguments import real_number, refuse_more, whole_number
from samjax.cli.generate import tell_files_beside
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.folder import check_can_write
from samjax.core.ranges import SEED, Range

_DESCRIPTION = """\
Serve a page on this machine where people make masks with the model: click, choose, correct, next. DIR becomes a folder
in SA-1B's layout, on disk before the page says "saved": samjax train --data.source DIR trains on it. Stop with Ctrl-C
and start again as you like. With a verb, use such a folder instead."""

_ANY_PORT = Range(at_least=0, at_most=65_535, why="it is a port, 0 for any that is free")


def add_parser(commands, name: str) -> None:
    """Add `samjax annotate`."""
    parser = commands.add_parser(
        name, help="masks by people in a browser, with a model in the loop", description=_DESCRIPTION
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    stats = verbs.add_parser("stats", help="seconds per mask, masks per photo, by source, person and checkpoint")
    stats.add_argument("folder", metavar="DIR", help="the --out of samjax annotate")
    stats.add_argument("--out", metavar="FOLDER", help="also write stats.json and stats.png there")
    stats.set_defaults(run=_stats)
    annotate_retrain.add_parser(verbs)
    annotate_quality.add_parsers(verbs)

    parser.add_argument("--checkpoint", metavar="C", help="a run's workdir, a checkpoint, weights, or their name")
    parser.add_argument(
        "--images",
        action="extend",
        nargs="+",
        metavar="PATH",
        help="photos, tars of photos, or quoted patterns of either: 'photos/*.jpg'; or a folder of samjax data prepare",
    )
    parser.add_argument(
        "--masks",
        metavar="FOLDER",
        help="photos that have masks, in place of --images, for --mode verify: what samjax annotate sample wrote, or "
        "samjax generate; the masks are copied to DIR",
    )
    parser.add_argument("--out", metavar="DIR", help="folder for the masks")
    queue = parser.add_argument_group("which photos, and what for")
    queue.add_argument(
        "--mode",
        choices=[mode.value for mode in QueueMode],
        default=QueueMode.MANUAL.value,
        help="manual: masks from nothing; prefill: proposals are masks already, add what is missing; review: accept or "
        "reject proposals; verify: judge other people's masks",
    )
    queue.add_argument(
        "--order", choices=[order.value for order in QueueOrder], default=QueueOrder.LISTED.value, help="of the photos"
    )
    queue.add_argument("--seed", type=whole_number("--seed", SEED), default=0, help="of --order random")
    model = parser.add_argument_group("embeddings")
    model.add_argument("--cache", metavar="DIR", help="folder of embeddings (default: in the user's cache)")
    model.add_argument(
        "--cache-gb",
        type=real_number("--cache-gb", Range(above=0, why="it is the cache's size")),
        default=20.0,
        metavar="GB",
        help="size of the cache, beyond which embeddings not used for the longest time go (default: 20)",
    )
    model.add_argument("--encode-first", action="store_true", help="encode all photos before the page is served")
    model.add_argument("--last-step", action="store_true", help="the last step's parameters, not a run's average")
    server = parser.add_argument_group("server")
    server.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    server.add_argument("--port", type=whole_number("--port", _ANY_PORT), default=8117, help="port (default: 8117)")
    server.add_argument(
        "--token",
        nargs="?",
        const="",
        metavar="TEXT",
        help="ask for a token, which the printed address carries: one that is drawn, or TEXT; needed with --host",
    )
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "annotate")
    if known.images and known.masks:
        raise UserError("--images and --masks both name the photos: give one of them")
    given = {"checkpoint": known.checkpoint, "images": known.images or known.masks, "out": known.out}
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise UserError(f"samjax annotate needs {', '.join(f'--{name}' for name in missing)}, or a verb; see --help")
    token = secrets.token_urlsafe(24) if known.token == "" else known.token
    config = ServerConfig(host=known.host, port=known.port, token=token)
    queue = QueueConfig(mode=QueueMode(known.mode), order=QueueOrder(known.order), seed=known.seed)

    from samjax.annotate.mask_import import open_photos_with_masks
    from samjax.annotate.photo_list import open_photos

    photos = open_photos_with_masks(known.masks, known.out) if known.masks else open_photos(known.images, known.out)
    _tell_photos(photos)
    check_can_write(known.out)
    with listening(config) as listener:
        _serve(known, photos, config, queue, listener)
    return 0


def _serve(known: argparse.Namespace, photos, config: ServerConfig, queue: QueueConfig, listener) -> None:
    """Load the model, open the folder, and serve."""
    from samjax.annotate.annotation_folder import open_annotations
    from samjax.annotate.embedding_store import EmbeddingStoreConfig
    from samjax.annotate.leases import Leases
    from samjax.annotate.photo_queue import PhotoQueue
    from samjax.annotate.routes import make_app
    from samjax.annotate.served_model import load_served_model
    from samjax.annotate.workplace import Workplace

    model = load_served_model(
        known.checkpoint,
        cache=known.cache,
        embeddings=EmbeddingStoreConfig(gigabytes=known.cache_gb),
        average=not known.last_step,
    )
    with open_annotations(known.out, photos, {}) as folder:
        if known.masks:
            _import(folder, known.masks)
        if known.encode_first:
            _encode(model, folder)
        masks = model.prompted_masks(folder)
        leases = Leases(folder.events, existing=folder.progress.leases)
        place = Workplace(
            folder, PhotoQueue(folder, leases, queue), masks, model=model.describe(), version=version("samjax")
        )
        sizes = {(photo.height, photo.width) for photo in photos.values()}
        try:
            serve(
                lambda: make_app(place),
                config,
                listener,
                on_start=lambda: print(f"open {address(config, listener)} and stop with Ctrl-C", flush=True),
                startup=lambda: masks.warm_up(sizes),
            )
        finally:
            masks.close()
    print(f"\n{known.out}: samjax annotate stats {known.out} says what was done", flush=True)


def _import(folder, source: str) -> None:
    """Bring in the masks beside the photos, and print how many are new."""
    from samjax.annotate.mask_import import import_masks

    with progress("photos whose masks are copied", total=len(folder.photos)) as bar:
        masks = import_masks(folder, watch=lambda: bar(1))
    if masks:
        print(f"{masks:,} masks copied from {source}", flush=True)


def _encode(model, folder) -> None:
    """Encode all photos that are not in the cache, and print how many there were."""
    from samjax.annotate.photo_encoding import encode_all

    done = 0
    with progress("photos encoded", total=len(folder.photos)) as bar:

        def advance(report) -> None:
            nonlocal done
            now = report.existing + report.new + len(report.failures)
            bar(now - done)
            done = now

        report = encode_all(model.engine, folder, folder.photos, model.store, report=advance)
    print(f"{report.new:,} photos encoded, {report.existing:,} were in {model.store.folder}", flush=True)
    for failure in report.failures:
        print(f"not encoded: {failure}", flush=True)


def _tell_photos(photos) -> None:
    print(f"{len(photos):,} photos", flush=True)
    if photos.unreadable:
        first, more = photos.unreadable[:5], len(photos.unreadable) - 5
        print(f"{len(photos.unreadable):,} cannot be read and are skipped: {'; '.join(first)}", end="")
        print(f"; and {more} more" if more > 0 else "", flush=True)
    tell_files_beside(photos.beside)


def _stats(known: argparse.Namespace, rest: Sequence[str]) -> int:
    refuse_more(list(rest), "annotate stats")
    from samjax.annotate.work_figures import work_figures
    from samjax.annotate.work_plot import draw_work
    from samjax.core.files import write_whole

    figures = work_figures(known.folder)
    text = json.dumps(figures.as_json(), indent=1)
    print(text)
    if known.out:
        out = Path(known.out)
        check_can_write(out)
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "stats.json", text + "\n")
        draw_work(out / "stats.png", figures)
    return 0
