"""`samjax export`: convert weights for other software."""

import argparse
import json
import sys

from samjax.cli.arguments import refuse_more
from samjax.core.errors import UserError

_FORMATS = {
    "huggingface": "a folder for transformers' SamModel, ViTMAEForPreTraining, SegformerForSemanticSegmentation, "
    "DPTForDepthEstimation or DPTForSemanticSegmentation (extra interop)",
    "segment-anything": "a .pth for the released code's builder (extra interop)",
    "mae": "a masked autoencoder as a .pth for its released code (extra interop)",
    "authors": "a dense prediction model as a .pth for its authors' code (extra interop)",
    "stablehlo": "the model by jax.export for CPUs, TPUs and GPUs, loaded without samjax (extra interop)",
    "onnx": "the model with dynamic axes (extra onnx)",
    "samjax": "a checkpoint for samjax: the model alone, without the optimiser's state",
}

_DESCRIPTION = """\
Write a checkpoint's weights as a folder to publish or for other software, with a model card that says what they are and
how to load them. Nothing is overwritten; a failed export leaves nothing behind.

formats:
"""


def add_parser(commands, name: str) -> None:
    """Add `samjax export`."""
    parser = commands.add_parser(
        name,
        help="weights for transformers, the released code, StableHLO or ONNX",
        description=_DESCRIPTION + "\n".join(f"  {format:17} {said}" for format, said in _FORMATS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint",
        metavar="DIR",
        required=True,
        help="a run's workdir (its newest), one of its checkpoints/STEP, or what samjax import wrote",
    )
    parser.add_argument("--format", choices=list(_FORMATS), required=True, help="the target, see above")
    parser.add_argument("--out", metavar="DIR", required=True, help="a new folder")
    parser.add_argument(
        "--license",
        metavar="ID",
        default="other",
        help="licence of the weights, for the card, such as apache-2.0 or cc-by-nc-4.0 (default: other, unspecified)",
    )
    parser.add_argument(
        "--single-file", action="store_true", help="onnx: store the weights in the .onnx, not in a separate file"
    )
    parser.add_argument(
        "--photo-masks", action="store_true", help="onnx: the decoder also resizes its masks to the photo"
    )
    parser.add_argument("--bfloat16", action="store_true", help="samjax: store parameters in half the bytes")
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help="samjax: the generator.json that samjax generate --tune wrote, to be used with these weights",
    )
    parser.add_argument(
        "--last-step", action="store_true", help="write the last step's parameters, not the average of a run with --ema"
    )
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "export")
    from samjax.interop.write_weights import Format, export

    folder = export(
        known.checkpoint,
        known.out,
        Format(known.format),
        license=known.license,
        options=_options(known),
        average=not known.last_step,
    )
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>15,} bytes  {path}")
    print("README.md says how to load it; read it before you publish it", file=sys.stderr)
    return 0


def _options(known: argparse.Namespace):
    """Return the options of a format, or None if none is given.

    Raises:
      UserError: they are of two formats, or the settings cannot be read.
    """
    from samjax.core.json_config import to_json
    from samjax.interop.formats.onnx.model import OnnxOptions
    from samjax.interop.formats.samjax_folder import FolderOptions
    from samjax.predict.automatic.settings_file import FILE, read_settings

    given = []
    if known.single_file or known.photo_masks:
        given.append(OnnxOptions(single_file=known.single_file, photo_masks=known.photo_masks))
    if known.bfloat16 or known.settings:
        files = {}
        if known.settings:
            # Without the photos that they were tuned on, and where those lay.
            files = {FILE: json.dumps({"settings": json.loads(to_json(read_settings(known.settings)))}, indent=1)}
        given.append(FolderOptions(dtype="bfloat16" if known.bfloat16 else "float32", files=files))
    if len(given) > 1:
        raise UserError(f"{' and '.join(one.FLAGS for one in given)}: remove those of one")
    return given[0] if given else None
