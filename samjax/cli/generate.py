"""`samjax generate`: every object of many photos, without prompts."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from samjax.cli import tuning_options
from samjax.cli.arguments import whole_number
from samjax.core.errors import UserError
from samjax.core.files import is_bucket
from samjax.core.folder import check_can_write
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.settings_file import read_settings, settings_of

if TYPE_CHECKING:
    from data_pipelines.photo_places import PhotoPlace
    from samjax.data.photo_parts import Part
    from samjax.predict.automatic.generator import MaskGenerator

_DESCRIPTION = """\
Generate masks for every object in the photos that PATH names, and write photos and masks to DIR in SA-1B's layout: a
folder to train on. Run the same command again to resume. Photos that cannot be read are listed at the end. With --part,
do a share of the photos, so that jobs on any machines do all of them; `samjax data pack` makes tars of the result. With
--tune, choose the settings on annotated photos instead."""

_PRESETS = {"default": GeneratorConfig, "sa1b": GeneratorConfig.sa1b}


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
        help="photos, tars of photos, or quoted patterns of either: 'photos/*.jpg', 'gs://bucket/*.tar'; or a folder "
        "made by samjax data prepare",
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
    parser.add_argument(
        "--part",
        metavar="I/N",
        help="do the I-th of N parts of the photos, I from 1 to N, in a folder of its own in DIR; give all parts the "
        "same --images and settings",
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
    from samjax.data.photo_parts import parse_part

    checkpoint = str(find_checkpoint(known.checkpoint))
    config = override(_settings(known, checkpoint), rest, command="generate")
    if known.tune:
        if known.part is not None:
            raise UserError("--part does not apply with --tune: choose settings first")
        return tuning_options.tune_settings(known, config, rest, checkpoint=checkpoint)
    tuning_options.refuse_options(known)
    part = parse_part(known.part) if known.part is not None else None
    if is_bucket(known.out):
        raise UserError(f"--out {known.out} is in a bucket: give a folder, and copy the tars of samjax data pack there")
    photos = find_photos(known.images, out=Path(known.out))
    check_can_write(known.out)

    def make_generator() -> "MaskGenerator":
        from samjax.predict.automatic.generator import MaskGenerator
        from samjax.predict.engine import Engine

        return MaskGenerator(Engine.from_checkpoint(checkpoint), config, batch_size=known.batch_size)

    if part is not None:
        return _run_part(known, part, photos, make_generator, checkpoint=checkpoint, config=config)
    from samjax.cli.mask_generation import generate_masks
    from samjax.predict.automatic.mask_folder import open_folder

    generator = make_generator()
    keys = [place.key for place in photos]
    folder = open_folder(known.out, checkpoint=checkpoint, config=config, photos=keys)
    todo = _missing(folder, photos)
    if todo:
        outcome = generate_masks(generator, todo, folder, draw=known.draw)
        if outcome.unreadable:
            raise UserError(outcome.unreadable_sentence())
    return 0


def _run_part(
    known: argparse.Namespace,
    part: "Part",
    photos: Sequence["PhotoPlace"],
    make_generator: Callable[[], "MaskGenerator"],
    *,
    checkpoint: str,
    config: GeneratorConfig,
) -> int:
    """Do a part of the photos; the folder is locked, and checked against others, before weights are read."""
    from samjax.cli.mask_generation import Outcome, generate_masks
    from samjax.data.stream.tolerance import too_many
    from samjax.predict.automatic.mask_folder import open_part

    share = [place for place in photos if part.has(place.key)]
    print(f"part {part}: {len(share):,} of {len(photos):,} photos", flush=True)
    keys = [place.key for place in photos]
    with open_part(known.out, part, checkpoint=checkpoint, config=config, photos=keys) as folder:
        todo = _missing(folder, share)
        outcome = generate_masks(make_generator(), todo, folder, draw=known.draw) if todo else Outcome()
        folder.write_report(photos=len(share), unreadable=outcome.unreadable)
    unreadable = len(outcome.unreadable)
    print(
        f"part {part}: {len(share) - unreadable:,} of {len(share):,} photos are done, {unreadable:,} cannot be read; "
        f"of {outcome.photos:,} done now {outcome.without_masks:,} have no mask",
        flush=True,
    )
    if too_many(bad=unreadable, seen=len(share), total=len(share)):
        raise UserError(outcome.unreadable_sentence())
    if unreadable:
        print(outcome.unreadable_sentence(), flush=True)
    return 0


def _missing(folder, photos: Sequence["PhotoPlace"]) -> list["PhotoPlace"]:
    """Return the photos that are still to do, and print how many are not."""
    todo = folder.missing(photos)
    if len(todo) < len(photos):
        print(f"{folder.path} has {len(photos) - len(todo):,} of {len(photos):,} photos already", flush=True)
    return todo


def _settings(known: argparse.Namespace, checkpoint: str) -> GeneratorConfig:
    """Return the settings of `--settings` or `--preset`, or those beside the weights, without overrides."""
    if known.settings is not None and known.preset is not None:
        raise UserError(f"--settings {known.settings} and --preset {known.preset} are both settings: give one of them")
    if known.settings is None and (known.preset is not None or known.tune):
        return _PRESETS[known.preset or "default"]()
    return settings_for(checkpoint, given=known.settings)


def settings_for(checkpoint: str, *, given: str | None) -> GeneratorConfig:
    """Return the settings in the file `given`, else those beside the weights, else the default ones."""
    tuned = settings_of(checkpoint) if given is None else None
    if tuned is not None:
        print(f"settings tuned for these weights: {tuned}", flush=True)
    file = given or tuned
    return GeneratorConfig() if file is None else read_settings(file)


def find_photos(patterns: Sequence[str], *, out: Path) -> list["PhotoPlace"]:
    """Return where the matching photos are, each once, sorted; print how many other files lie beside them.

    Raises:
      UserError: a pattern that matches no photo, or one in `out`; a tar or a folder of records that is damaged.
    """
    from data_pipelines.photo_places import list_photos

    found = list_photos(patterns, out=out)
    tell_files_beside(found.beside)
    if found.unusable:
        print(f"{len(found.unusable):,} photos in tars cannot be used, such as {found.unusable[0]}", flush=True)
    return found.places


def tell_files_beside(files: Sequence[Path]) -> None:
    """Print how many files in the photos' folders no pattern matches, if there are any."""
    if files:
        print(f"--images does not match {len(files):,} other files in the same folders, such as {files[0]}", flush=True)
