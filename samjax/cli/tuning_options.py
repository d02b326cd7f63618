"""The part of `samjax generate` for `--tune`: settings chosen on annotated photos."""

import argparse
import dataclasses
import os
import re
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from samjax.cli.arguments import refuse_any, whole_number
from samjax.cli.evaluation import open_images
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.folder import check_can_write
from samjax.core.patterns import expand_pattern
from samjax.predict.automatic.settings_file import FILE

_METRICS = ("ap50", "f1")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--tune` and the options that go with it."""
    group = parser.add_argument_group(
        "tuning",
        "with --tune, --images is the folder of the annotated photos, or patterns of some of them; settings given on "
        "the command line stay as they are, all others are chosen",
    )
    group.add_argument(
        "--tune",
        metavar="JSON",
        help=f"choose the settings by these annotations, as COCO or LVIS write them, and write them to DIR/{FILE}: "
        "no masks are generated",
    )
    group.add_argument("--limit", type=whole_number("--limit"), metavar="N", help="use only the first N photos")
    group.add_argument(
        "--tune-metric",
        choices=_METRICS,
        help="what to maximise at an IoU of 0.5: ap50 (default), average precision with predicted IoU as confidence, "
        "then the fewest false masks; or f1, of all masks alike",
    )
    group.add_argument(
        "--allow-missing",
        action="store_true",
        help="skip and count missing or damaged data, instead of refusing to run",
    )
    group.add_argument(
        "--allow-unannotated",
        action="store_true",
        help="accept photos without annotations: every mask on them is a false one",
    )


def refuse_options(known: argparse.Namespace) -> None:
    """Refuse options that need `--tune`.

    Raises:
      UserError: one is given.
    """
    names = ("limit", "tune_metric", "allow_missing", "allow_unannotated")
    refuse_any(known, names, "--tune: give annotations with --tune, or leave it out")


def tune_settings(known: argparse.Namespace, config, rest: Sequence[str], *, checkpoint: str) -> int:
    """Choose settings, `config` but for what is searched, and write and print them."""
    if known.draw:
        raise UserError("--draw is not for --tune, which writes no masks: leave it out")
    out = Path(known.out).expanduser()
    check_can_write(out)
    if (out / FILE).exists():
        raise UserError(f"--out {out} holds a {FILE} already: give another folder, or remove the file")

    from samjax.eval.ground_truth import read_annotated_photos
    from samjax.eval.tuning.tune import tune
    from samjax.predict.engine import Engine

    folder, chosen = _photos(known.images)
    data = read_annotated_photos(
        known.tune,
        images=open_images(folder, out=out),
        allow_missing=known.allow_missing,
        allow_unannotated=known.allow_unannotated,
        progress=progress,
    )
    if chosen is not None:
        there = [photo for photo in data.photos if Path(folder, photo.path) in chosen]
        data = dataclasses.replace(data, photos=there)
    photos = data.first(known.limit)
    started = time.perf_counter()
    outcome = tune(
        Engine.from_checkpoint(checkpoint),
        data,
        photos,
        config,
        fixed=_given_fields(rest),
        metric=known.tune_metric or _METRICS[0],
        batch_size=known.batch_size,
        progress=progress,
    )
    about = {"annotations": known.tune, "images": known.images, "limit": known.limit, **data.left_out}
    file = outcome.write(out, checkpoint=checkpoint, data=about)
    print(outcome.table())
    print(f"\n{len(photos):,} photos, {outcome.objects:,} objects in {time.perf_counter() - started:.0f} s: {file}")
    told = ["samjax", "generate", "--checkpoint", known.checkpoint, "--settings", str(file)]
    print(f"{shlex.join(told)} --images 'photos/*.jpg' --out masks", flush=True)
    return 0


def _given_fields(rest: Sequence[str]) -> set[str]:
    """Return the names of the fields that overrides set."""
    return {word[2:].split("=", 1)[0].replace("-", "_") for word in rest if re.match(r"--[a-z]", word)}


def _photos(given: Sequence[str]) -> tuple[str, set[Path] | None]:
    """Return where the photos are, and the files there that patterns chose; None for all.

    Raises:
      UserError: patterns match no file.
    """
    if len(given) == 1 and (given[0].endswith(".tar") or Path(given[0]).expanduser().is_dir()):
        return given[0], None
    files = {path.absolute() for pattern in given for path in expand_pattern(pattern) if path.is_file()}
    if not files:
        raise UserError(f"--images {' '.join(given)} matches no photo: give the folder of the annotated photos")
    return os.path.commonpath([path.parent for path in files]), files
