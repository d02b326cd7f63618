"""Arguments and steps that all protocols of `samjax evaluate` share."""

import argparse
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from samjax.cli.arguments import whole_number
from samjax.cli.progress_bar import progress
from samjax.core.text import printable


def add_common(parser: argparse.ArgumentParser, *, needs_checkpoint: bool = True) -> None:
    """Add the arguments that every protocol of a model takes."""
    parser.add_argument(
        "--checkpoint", required=needs_checkpoint, metavar="C", help="a run's workdir, a checkpoint, or weights"
    )
    add_out(parser)


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add `--out`, `--resume` and `--limit`."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write results, table and pictures to")
    parser.add_argument("--resume", action="store_true", help="resume the evaluation in --out")
    parser.add_argument(
        "--limit",
        type=whole_number("--limit"),
        metavar="N",
        help="evaluate only the first N photos of each data set, for a quick look",
    )


def add_clicks(parser: argparse.ArgumentParser) -> None:
    """Add `--clicks`."""
    parser.add_argument(
        "--clicks",
        type=whole_number("--clicks"),
        nargs="+",
        default=[1, 2, 3, 5, 9],
        metavar="N",
        help="report the mean IoU after these numbers of clicks (default: 1 2 3 5 9)",
    )


def add_allow_missing(parser: argparse.ArgumentParser) -> None:
    """Add `--allow-missing` and `--allow-unannotated`."""
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="skip missing or damaged data, and count it in the results, instead of refusing to run",
    )
    parser.add_argument(
        "--allow-unannotated",
        action="store_true",
        help="accept photos without annotations: `instances` and `masks` count every mask on them as a false positive, "
        "other protocols skip and count them",
    )


def add_annotations(parser: argparse.ArgumentParser) -> None:
    """Add `--annotations` and `--images`."""
    parser.add_argument("--annotations", required=True, metavar="JSON", help="annotations as COCO or LVIS write them")
    parser.add_argument("--images", required=True, metavar="PATH", help="their photos: a folder, tars or records")


def open_annotations(known: argparse.Namespace, out: Path):
    """Return the annotations and photos from the arguments of `add_annotations`, see `AnnotatedPhotos`."""
    from samjax.eval.ground_truth import read_annotated_photos

    return read_annotated_photos(
        known.annotations,
        images=open_images(known.images, out=out),
        allow_missing=known.allow_missing,
        allow_unannotated=known.allow_unannotated,
        progress=progress,
    )


def evaluate(
    protocol: str, known: argparse.Namespace, body: Callable, *, request: Mapping[str, Any], checkpoint: str
) -> int:
    """Run `body(folder)` in `--out`, see `run_evaluation`, and print the table of the results that it returns."""
    from samjax.eval.run import run_evaluation

    out = out_folder(known)
    results = run_evaluation(protocol, out, checkpoint=checkpoint, request=request, resume=known.resume, evaluate=body)
    print(results.table())
    print(f"\nwritten to {out}", flush=True)
    return 0


def find_checkpoint_of(known: argparse.Namespace) -> str:
    """Return the path of the checkpoint that `--checkpoint` names."""
    from samjax.checkpoint.weights import find_checkpoint

    return str(find_checkpoint(known.checkpoint))


def out_folder(known: argparse.Namespace) -> Path:
    """Return the folder of `--out`."""
    return Path(known.out).expanduser()


def open_images(path: str, *, out: Path):
    """Return where the photos of the annotations are: a folder of pictures or of records; SA-1B's tars are prepared
    once."""
    from samjax.data.annotations.images import ImageFolder, ImageRecords
    from samjax.data.stream.sources import holds_records

    path = prepare_records(path, out=out)
    return ImageRecords(path, progress=progress) if holds_records(path) else ImageFolder(path)


def prepare_records(path: str, *, out: Path) -> str:
    """Return `path`, or, for tars or pairs of SA-1B, the records prepared from it once under `out`."""
    from samjax.api.tars import prepare_once
    from samjax.data.stream.sources import is_sa1b_layout

    if not is_sa1b_layout(path):
        return path
    digest = hashlib.sha256(printable(str(Path(path).absolute())).encode()).hexdigest()[:12]
    return prepare_once(path, out / "records" / digest)
