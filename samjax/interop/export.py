"""Weights out: a checkpoint as a folder that other software reads."""

import enum
import re
from pathlib import Path

import jax

from samjax.checkpoint.weights import Weights, load_weights
from samjax.core.errors import UserError
from samjax.core.optional import optional
from samjax.core.output import check_can_write, check_room, whole_folder
from samjax.interop import segment_anything
from samjax.interop.card import UNSPECIFIED, Use, card
from samjax.interop.huggingface import write_huggingface
from samjax.interop.onnx_model import OnnxOptions, write_onnx
from samjax.interop.portable import decoder, encoder
from samjax.interop.stablehlo import write_stablehlo
from samjax.interop.usage import huggingface_use, onnx_use, segment_anything_use, stablehlo_use
from samjax.models.sam.config import SamConfig, config_of_run
from samjax.models.sam.sam import check_arrays


class Format(enum.Enum):
    """What a folder is read by."""

    HUGGINGFACE = "huggingface"
    """Transformers' `SamModel` and `SamProcessor`."""
    SEGMENT_ANYTHING = "segment-anything"
    """The released code's builder."""
    STABLEHLO = "stablehlo"
    """JAX, without samjax."""
    ONNX = "onnx"
    """ONNX Runtime and others."""


_NEEDS = {
    Format.HUGGINGFACE: [("safetensors", "interop")],
    Format.SEGMENT_ANYTHING: [("torch", "interop")],
    Format.STABLEHLO: [("safetensors", "interop"), ("flatbuffers", "interop")],
    Format.ONNX: [("onnx", "onnx")],
}


def export(
    checkpoint: str, out: str, format: Format, *, license: str = UNSPECIFIED, onnx: OnnxOptions | None = None
) -> Path:
    """Write the weights of `checkpoint` and their card to the folder `out`, whole or not at all; return it.

    Args:
      checkpoint: what `load_weights` takes.
      out: a folder that is not there yet, or empty.
      format: what it is for.
      license: the weights', by its SPDX or Hugging Face identifier.
      onnx: how models in the format ONNX are laid out.

    Raises:
      UserError: there is something in `out`, the checkpoint is not a whole model of ours, the format cannot hold it, or
        a package that it is written with is not installed.
    """
    folder = Path(out).absolute()
    _check_out(out, folder)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", license):
        raise UserError(f"--license {license!r}: give an identifier, such as apache-2.0 or cc-by-nc-4.0")
    if onnx is not None and format is not Format.ONNX:
        raise UserError(f"--single-file and --photo-masks are of onnx, not of {format.value}: leave them out")
    for package, extra in _NEEDS[format]:
        optional(package, extra=extra)
    weights = load_weights(checkpoint)
    model = _model_of(weights)
    check_room(folder, sum(leaf.nbytes for leaf in jax.tree.leaves((weights.params, weights.buffers))))
    with whole_folder(folder) as partial:
        use = _write(weights, model, format, partial, onnx or OnnxOptions())
        (partial / "README.md").write_text(card(weights, model, use, license=license))
    return folder


def _write(weights: Weights, model: SamConfig, format: Format, folder: Path, onnx: OnnxOptions) -> Use:
    params, buffers = weights.params, weights.buffers
    match format:
        case Format.HUGGINGFACE:
            write_huggingface(params, buffers, model, folder)
            return huggingface_use(model)
        case Format.SEGMENT_ANYTHING:
            segment_anything.write_segment_anything(params, buffers, model, folder)
            return segment_anything_use(model)
        case Format.STABLEHLO:
            for half in (encoder, decoder):
                write_stablehlo(half(params, buffers, model), folder)
            return stablehlo_use(model)
        case Format.ONNX:
            for half in (encoder, decoder):
                part = half(params, buffers, model)
                frame = model.image_size if onnx.photo_masks and half is decoder else None
                write_onnx(part, folder / f"{part.name}.onnx", single_file=onnx.single_file, photo_frame=frame)
            return onnx_use(model, onnx)


def _model_of(weights: Weights) -> SamConfig:
    """Return the model's config, whose arrays `weights` has to a one."""
    model = config_of_run(weights.config, name=str(weights.path))
    check_arrays(model, params=weights.params, buffers=weights.buffers, what=f"{weights.path}: the weights")
    return model


def _check_out(out: str, folder: Path) -> None:
    if "://" in out:
        raise UserError(f"--out {out}: a folder of this machine is needed; copy it to the bucket afterwards")
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if not is_empty and (folder.exists() or folder.is_symlink()):
        raise UserError(f"{out} is there already, and nothing is written over: give another --out")
    check_can_write(out)
