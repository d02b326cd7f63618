"""`samjax generate`: every object of many photos, without prompts."""

import argparse
import dataclasses
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from samjax.cli import tuning_options
from samjax.cli.arguments import whole_number
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.folder import check_can_write
from samjax.core.patterns import files_beside, match_photos
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.settings_file import read_settings, settings_of

_DESCRIPTION = """\
Generate masks for every object in the photos that PATH names, and write photos and masks to DIR in SA-1B's layout: a
folder to train on. Run the same command again to resume. Photos that cannot be read are listed at the end. With --tune,
choose the settings on annotated photos instead."""

_PRESETS = {"default": GeneratorConfig, "sa1b": GeneratorConfig.sa1b}
_TOLD = 20
"""How many unreadable photos to list one by one."""


def add_parser(commands, name: str) -> None:
    """Add `samjax generate`."""
    settings = ", ".join(
        f"--{field.name.replace('_', '-')} {getattr(GeneratorConfig(), field.name):.4g}"
        for field in dataclasses.fields(GeneratorConfig)
    )
    parser = commands.add_parser(
        name,
        help="masks of every object in photos",
        description=_DESCRIPTION,
        epilog=f"Settings of the generator, with the values of the default preset: {settings}",
    )
    parser.add_argument("--checkpoint", required=True, metavar="C", help="a run's workdir, a checkpoint, or weights")
    parser.add_argument(
        "--images",
        required=True,
        action="extend",
        nargs="+",
        metavar="PATH",
        help="photos, or quoted patterns of photos: 'photos/*.jpg'",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--preset",
        choices=_PRESETS,
        help="default: the released generator's settings; sa1b: those that made SA-1B, 20 crops per photo. Without it, "
        "settings that come with the weights, if any, else the default",
    )
    parser.add_argument(
        "--settings", metavar="FILE", help="settings in place of a preset: the generator.json that --tune wrote"
    )
    parser.add_argument("--draw", action="store_true", help="also draw each photo's masks, to DIR/overlays")
    parser.add_argument(
        "--batch-size",
        type=whole_number("--batch-size"),
        metavar="N",
        help="photos or crops per batch, over all devices (default: one per device)",
    )
    tuning_options.add_options(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from samjax.checkpoint.weights import find_checkpoint
    from samjax.cli.train import override

    checkpoint = str(find_checkpoint(known.checkpoint))
    config = override(_settings(known, checkpoint), rest, command="generate")
    if known.tune:
        return tuning_options.tune_settings(known, config, rest, checkpoint=checkpoint)
    tuning_options.refuse_options(known)
    photos = find_photos(known.images, out=Path(known.out))
    check_can_write(known.out)

    from samjax.predict.automatic.generator import MaskGenerator
    from samjax.predict.automatic.mask_folder import open_folder
    from samjax.predict.engine import Engine

    generator = MaskGenerator(Engine.from_checkpoint(checkpoint), config, batch_size=known.batch_size)
    folder = open_folder(known.out, checkpoint=checkpoint, config=config, photos=photos)
    todo = [photo for photo in photos if not folder.is_done(photo)]
    if len(todo) < len(photos):
        print(f"{known.out} has {len(photos) - len(todo):,} of {len(photos):,} photos already", flush=True)
    if todo:
        _generate(generator, todo, folder, draw=known.draw)
    return 0


def _settings(known: argparse.Namespace, checkpoint: str) -> GeneratorConfig:
    """Return the settings of `--settings` or `--preset`, or those beside the weights, without overrides."""
    if known.settings is not None and known.preset is not None:
        raise UserError(f"--settings {known.settings} and --preset {known.preset} are both settings: give one of them")
    if known.settings is not None:
        return read_settings(known.settings)
    tuned = settings_of(checkpoint) if known.preset is None and not known.tune else None
    if tuned is None:
        return _PRESETS[known.preset or "default"]()
    print(f"settings tuned for these weights: {tuned}", flush=True)
    return read_settings(tuned)


def find_photos(patterns: Sequence[str], *, out: Path) -> list[Path]:
    """Return the matching files, each once, sorted by path; print how many other files lie beside them.

    Raises:
      UserError: a pattern that matches no file, or one in `out`.
    """
    found = match_photos(patterns, out=out)
    if others := files_beside(patterns, found):
        print(
            f"--images does not match {len(others):,} other files in the same folders, such as {others[0]}", flush=True
        )
    return found


def _generate(generator, photos: Sequence[Path], folder, *, draw: bool) -> None:
    """Generate and write the masks of `photos`, and print how many and how fast.

    Raises:
      UserError: some photos cannot be read; all others are done.
    """
    from samjax.pictures.all_masks import draw_all_masks

    unreadable: list[str] = []
    without: list[tuple[Path, Any]] = []
    masks = done = 0
    started = time.perf_counter()
    first: tuple[int, float] | None = None
    with progress("photos", total=len(photos)) as bar, ThreadPoolExecutor(2) as pool:
        for batch in _read_ahead(pool, photos, size=generator.batch_size):
            unreadable += [str(error) for _, error in batch if isinstance(error, UserError)]
            there = [(path, photo) for path, photo in batch if not isinstance(photo, UserError)]
            of_photos = generator.generate([photo for _, photo in there])
            for (path, photo), found, highest in zip(there, of_photos, generator.highest, strict=True):
                if not found:
                    without.append((path, highest))
                if draw:
                    folder.write_overlay(path, draw_all_masks(photo, [mask.segmentation["counts"] for mask in found]))
                folder.write(path, photo, found)
                masks, done = masks + len(found), done + 1
            now = time.perf_counter()
            first = first or (done, now)
            bar(len(batch), note=f"{_rate(done, now - started, first, now)} images/s")
    took = time.perf_counter() - started
    if done:
        print(
            f"{done:,} photos, {masks:,} masks in {took:.1f} s, {_rate(done, took, first, started + took)} images/s"
            f"{' after the first' if first and done > first[0] else ''}: {folder.path}",
            flush=True,
        )
    if without:
        print(_why_none(without, done=done, config=generator.config), flush=True)
    if unreadable:
        more = f"; and {len(unreadable) - _TOLD} more" if len(unreadable) > _TOLD else ""
        raise UserError(
            f"{len(unreadable)} of {len(photos)} photos could not be read: {'; '.join(unreadable[:_TOLD])}{more}. "
            f"The other {done} are done; replace these, or exclude them from --images"
        )


def _why_none(without: Sequence[tuple[Path, Any]], *, done: int, config: GeneratorConfig) -> str:
    """Return how close the best candidates of photos without a mask came to the thresholds."""
    path, highest = max(without, key=lambda one: (one[1].stability or 0.0, one[1].iou))
    iou = max(one.iou for _, one in without)
    text = (
        f"{len(without):,} of {done:,} photos have no mask that passes the thresholds, such as {path}. The highest "
        f"predicted IoU on them is {iou:.6g}, --pred-iou-threshold {config.pred_iou_threshold:g}"
    )
    if highest.stability is None:
        return f"{text}; stability is measured above that threshold only"
    if highest.stability >= config.stability_threshold:
        return f"{text}; what passed was cut by its crop's edge, or larger than --max-area-fraction"
    return (
        f"{text}; the highest stability of those above it is {highest.stability:.6g}, --stability-threshold "
        f"{config.stability_threshold:g}"
    )


def _rate(done: int, took: float, first: tuple[int, float] | None, now: float) -> str:
    """Return images per second, excluding the first batch if there were others: it includes compilation."""
    if first is not None and done > first[0]:
        done, took = done - first[0], now - first[1]
    return f"{done / max(took, 1e-9):.3g}"


def _read_ahead(pool: ThreadPoolExecutor, photos: Sequence[Path], *, size: int) -> Iterator[list]:
    """Yield (path, photo or UserError) in batches, reading the next batch in the background."""
    from samjax.predict.promptable.photo_input import read_photo

    def read(path: Path):
        try:
            return path, read_photo(path)
        except UserError as error:
            return path, error

    batches = [photos[start : start + size] for start in range(0, len(photos), size)]
    ahead = [pool.submit(read, path) for path in batches[0]]
    for following in [*batches[1:], []]:
        ready = [future.result() for future in ahead]
        ahead = [pool.submit(read, path) for path in following]
        yield ready
