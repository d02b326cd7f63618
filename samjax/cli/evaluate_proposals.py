"""`samjax evaluate proposals`: recall of automatic masks."""

import argparse
import dataclasses

from samjax.cli.arguments import whole_number
from samjax.cli.evaluation import (
    add_allow_missing,
    add_annotations,
    add_common,
    evaluate,
    find_checkpoint_of,
    open_annotations,
    out_folder,
)
from samjax.cli.progress_bar import progress

_DESCRIPTION = """\
Generate masks for whole photos from a grid of points, rank them, and report the average recall at 1000 proposals as in
section 7.3 of the Segment Anything paper: over all objects, by size, and for LVIS by frequency. Writes results.json,
table.txt, ar.png, worst.png and median.png to DIR. Any setting of the generator can follow, such as --points-per-side
32 or --points-per-batch 256."""


def add_parser(protocols, name: str) -> None:
    """Add `samjax evaluate proposals`."""
    parser = protocols.add_parser(name, help="average recall of proposals", description=_DESCRIPTION)
    add_common(parser)
    add_annotations(parser)
    parser.add_argument(
        "--single-output", action="store_true", help="one mask per point instead of three: the paper's ablation"
    )
    parser.add_argument(
        "--max-proposals",
        type=whole_number("--max-proposals"),
        default=1000,
        metavar="N",
        help="most proposals per photo (default: 1000)",
    )
    parser.add_argument(
        "--write-proposals",
        action="store_true",
        help="also write all proposals to DIR/proposals/ID.json, in COCO's results format: about 300 kB per photo",
    )
    add_allow_missing(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from samjax.cli.train import override
    from samjax.eval.protocols.proposals.protocol import ProposalConfig, paper_generator, propose
    from samjax.eval.protocols.proposals.report import proposal_results, write_report

    preset = paper_generator(**({"masks_per_point": 1} if known.single_output else {}))
    generator_config = override(preset, rest, command="evaluate proposals")
    config = ProposalConfig(generator=generator_config, most=known.max_proposals)

    from samjax.predict.automatic.generator import MaskGenerator
    from samjax.predict.engine import Engine

    checkpoint, out = find_checkpoint_of(known), out_folder(known)
    settings = {**dataclasses.asdict(generator_config), "max proposals": config.most}
    del settings["points_per_batch"]  # changes memory and speed alone
    request = {
        "annotations": known.annotations,
        "images": known.images,
        "limit": known.limit,
        "proposals written": known.write_proposals,
        "settings": settings,
    }

    def body(folder):
        data = open_annotations(known, out)
        photos = data.first(known.limit, annotated=True)
        folder.check_data(photo.fingerprint() for photo in photos)
        generator = MaskGenerator(Engine.from_checkpoint(checkpoint), generator_config)
        with progress("photos", total=len(photos)) as watch:
            propose(
                generator,
                data.truth,
                photos,
                folder,
                config=config,
                allow_missing=known.allow_missing,
                written=out / "proposals" if known.write_proposals else None,
                watch=watch,
            )
        results = proposal_results(
            data.truth,
            photos,
            folder,
            config=config,
            checkpoint=checkpoint,
            settings=settings,
            left_out=data.left_out,
            notes=data.notes,
        )
        write_report(data.truth, photos, folder, results)
        return results

    return evaluate("proposals", known, body, request=request, checkpoint=checkpoint)
