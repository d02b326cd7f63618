"""`samjax import`: weights of other codebases to a checkpoint."""

import argparse
from pathlib import Path

from samjax.cli.arguments import refuse_more, whole_number
from samjax.core.errors import UserError
from samjax.core.folder import check_can_write
from samjax.core.ranges import PIXELS

_DESCRIPTION = """\
Convert weights to the checkpoint CKPT: the Segment Anything release (.pth) or transformers' SamModel (a folder, or its
.safetensors or .bin); a masked autoencoder (MAE's .pth, or transformers' ViTMAE); a dense prediction model (SegFormer,
PVT, SETR, Segmenter, HRFormer or DPT, of its authors or transformers); a ViT trained on ImageNet (timm's, DeiT's, or
AugReg's .npz), to start a backbone or an image encoder from; or another plain ViT, such as ViTDet's, to start an image
encoder from. The model and its size are recognised from keys and arrays. No code in the file is run. If something does
not fit, the error names it and no CKPT is written."""


def add_parser(commands, name: str) -> None:
    """Add `samjax import`."""
    parser = commands.add_parser(
        name, help="weights of other codebases to a checkpoint", description=_DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument("weights", metavar="WEIGHTS", help="a file, or a folder that transformers saved")
    parser.add_argument("--out", required=True, metavar="CKPT", help="folder to write; it must not exist yet")
    parser.add_argument(
        "--image-size",
        nargs=2,
        type=whole_number("--image-size", PIXELS),
        metavar=("HEIGHT", "WIDTH"),
        help="frame in pixels to resize position tables for (default: a whole model's own, and 1024 1024 for a ViT "
        "that becomes an image encoder); of a dense prediction model the frame it is for",
    )
    parser.add_argument(
        "--decoder-heads",
        type=whole_number("--decoder-heads"),
        metavar="N",
        help="attention heads of a mask decoder that is not 256 channels wide: state dicts do not tell",
    )
    parser.add_argument(
        "--under",
        metavar="KEY",
        help="key of the state dict in a training checkpoint that holds several, such as model_ema",
    )
    parser.add_argument(
        "--ignore",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATTERN",
        help="quoted patterns of keys to ignore: 'image_encoder.adapters/**'",
    )
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from etils import epath

    refuse_more(rest, "import")
    if epath.Path(known.out).exists():  # before minutes of reading
        raise UserError(f"{known.out} exists already, and nothing is overwritten: give another folder")
    check_can_write(known.out)

    from samjax.checkpoint.load import model_record
    from samjax.checkpoint.weights import save_weights
    from samjax.interop.read_weights import import_weights

    imported = import_weights(
        known.weights,
        image_size=None if known.image_size is None else tuple(known.image_size),
        decoder_heads=known.decoder_heads,
        under=known.under,
        ignore=known.ignore,
    )
    config = {
        **model_record(imported.reading.config),
        "imported": {
            "from": Path(known.weights).resolve().name,
            "format": imported.recognition.naming.name,
            "sha256": imported.sha256,
            **({"ignored": imported.ignored_keys} if imported.ignored_keys else {}),
        },
    }
    save_weights(known.out, params=imported.reading.params, buffers=imported.reading.buffers, config=config)
    print(report(imported, source=known.weights, out=known.out))
    return 0


def report(imported, *, source: str, out: str) -> str:
    """Return a report of the import, in lines."""
    from samjax.core.tree import named_leaves

    reading = imported.reading
    parameters, buffers = named_leaves(reading.params).values(), named_leaves(reading.buffers).values()
    height, width = reading.config.image_size
    lines = [
        f"{source}: {imported.title} for {height} x {width} pixels, key layout of {imported.recognition.naming.title}",
        *(f"  sha256 {digest} {name}" for name, digest in imported.sha256.items()),
        f"  {len(parameters) + len(buffers)} arrays, {sum(leaf.size for leaf in parameters):,} parameters",
        *(f"  resized  {change}" for change in reading.changes),
        *(f"  note     {note}" for note in imported.notes),
    ]
    for what, keys in (("not used", imported.unused_keys), ("ignored ", imported.ignored_keys)):
        if keys:
            first, more = keys[:8], len(keys) - 8
            lines.append(f"  {what} {', '.join(first)}{f' and {more} more' if more > 0 else ''}")
    return "\n".join([*lines, f"written to {out}"])
