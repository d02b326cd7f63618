"""`samjax data prepare`: SA-1B's tars, annotated photos, or photos alone, to records."""

import argparse
import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from samjax.cli import annotated_options
from samjax.cli.arguments import refuse_more, whole_number
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.ranges import PIXELS

_DESCRIPTION = """\
Convert tars, or folders of extracted pairs, in SA-1B's layout (sa_<id>.jpg beside sa_<id>.json) to ArrayRecord shards
with TFDS's segment_anything schema. JPEG bytes are kept unchanged. With --format coco, label-maps, panoptic or
instance-pngs, convert photos and their --annotations, with --format depth photos and their depth maps. With --format
photos, convert photos without masks, from folders and tars of any layout. After an interruption, run the same command
again: it resumes and keeps finished shards. With --runner an Apache Beam pipeline makes the shards, and all further
options are Beam's."""
_LINE_EVERY_S = 30.0


def add_parser(actions, name: str) -> None:
    """Add `samjax data prepare`."""
    parser = actions.add_parser(
        name,
        help="SA-1B tars, annotated photos, or photos alone, to ArrayRecord shards",
        description=_DESCRIPTION,
        allow_abbrev=False,  # or an option of Beam's would be taken for one of these
    )
    parser.add_argument(
        "--source",
        action="extend",
        nargs="+",
        metavar="PATH",
        help="for sa1b and photos: tars, quoted globs, or folders of tars, pairs or photos; gs:// and s3:// too",
    )
    parser.add_argument(
        "--format",
        choices=("sa1b", "photos", *annotated_options.WITH_ANNOTATIONS),
        default="sa1b",
        help="what the data is: photos with masks in SA-1B's layout (default), photos alone, or annotated photos "
        "(coco: LVIS too; depth: a map of depth for each)",
    )
    for side in ("longest", "shortest"):
        parser.add_argument(
            f"--{side}-side",
            type=whole_number(f"--{side}-side", PIXELS),
            metavar="N",
            help=f"--format photos: scale down photos whose {side} side is longer than this, in pixels",
        )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write, or to resume")
    parser.add_argument("--split", default="train", help="name of the split (default: train)")
    parser.add_argument(
        "--workers", type=whole_number("--workers"), metavar="N", help="processes (default: one per core)"
    )
    parser.add_argument("--runner", metavar="NAME", help="a Beam runner: DirectRunner, DataflowRunner, ...")
    annotated_options.add_options(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from data_pipelines import preparation

    prepare = _preparer(known, rest)
    if known.runner:
        if known.workers:
            raise UserError("--workers does not apply with --runner: give the runner's own option instead")
        run = preparation.BeamRun(runner=known.runner, options=tuple(option for option in rest if option != "--"))
    else:
        if known.format not in annotated_options.WITH_ANNOTATIONS:
            refuse_more(rest, "data prepare")
        run = preparation.LocalRun(workers=known.workers)
    try:
        with _display(has_masks=known.format not in ("photos", annotated_options.DEPTH)) as watch:
            report = prepare(run=run, watch=watch)
    except KeyboardInterrupt:
        print(f"stopped; run the same command again to resume {known.out}", file=sys.stderr)
        return 130
    print(f"{known.out}: {report.text()}")
    return 0


def _preparer(known: argparse.Namespace, rest: list[str]) -> Callable[..., Any]:
    """Return what prepares data of the format, given `run` and `watch`."""
    if known.format != "photos":
        for name in ("longest_side", "shortest_side"):
            if getattr(known, name):
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} is for --format photos: photos with masks keep the size of their masks")
    if known.format in annotated_options.WITH_ANNOTATIONS:
        return annotated_options.preparer(known, rest)
    annotated_options.refuse_options(known)
    if not known.source:
        raise UserError(f"--format {known.format} needs --source: tars, or folders of photos")
    if known.format == "photos":
        prepare = _prepare_photos(known)
    else:
        from data_pipelines.sa1b import prepare
    return functools.partial(prepare, known.source, known.out, split=known.split)


def _prepare_photos(known: argparse.Namespace) -> Callable[..., Any]:
    from data_pipelines import photos
    from data_pipelines.photo_jpegs import PhotoRules

    rules = PhotoRules(longest_side=known.longest_side, shortest_side=known.shortest_side)
    return functools.partial(photos.prepare, rules=rules)


@contextlib.contextmanager
def _display(*, has_masks: bool) -> Iterator[Callable]:
    """Yield a function that shows progress on stderr: a bar on a terminal, else a line from time to time."""

    def words(state) -> str:
        dropped = f", {state.drops:,} dropped" if state.drops else ""
        masks = f", {state.masks:,} masks" if has_masks else ""
        return f"{state.units:,} of {state.units_total:,} shards, {state.photos:,} photos{masks}{dropped}"

    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(state) -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_EVERY_S:
                last = time.monotonic()
                print(f"{state.size / max(1, state.size_total):.0%}: {words(state)}", file=sys.stderr, flush=True)

        yield line
        return
    with contextlib.ExitStack() as stack:
        bar = None

        def move(state) -> None:
            nonlocal bar
            if bar is None:  # not before: annotations are read first, with bars of their own
                bar = stack.enter_context(progress("", total=None, in_bytes=True))
            bar.to(state.size, total=state.size_total, note=words(state))

        yield move
