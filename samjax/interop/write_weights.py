"""Exports a checkpoint as a folder that other software reads."""

import enum
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from samjax.checkpoint.load import load_weights_and_config, model_words
from samjax.core.errors import UserError
from samjax.core.folder import check_can_write, check_room, whole_folder
from samjax.core.optional import optional
from samjax.interop.card import UNSPECIFIED, card
from samjax.interop.formats.dense_writers import DENSE_WRITERS
from samjax.interop.formats.sam_writers import SAM_WRITERS
from samjax.interop.formats.vit_mae import MAE_WRITERS
from samjax.interop.formats.writer import Writer

WRITERS: tuple[Writer, ...] = (*SAM_WRITERS, *MAE_WRITERS, *DENSE_WRITERS)


class Format(enum.Enum):
    """The software that an exported folder is for."""

    HUGGINGFACE = "huggingface"
    """Transformers' `SamModel` and `SamProcessor`, its `ViTMAEForPreTraining`, its `SegformerForSemanticSegmentation`,
    its `DPTForDepthEstimation` and `DPTForSemanticSegmentation`."""
    SEGMENT_ANYTHING = "segment-anything"
    """The released code's builder."""
    MAE = "mae"
    """The released code of masked autoencoders."""
    AUTHORS = "authors"
    """The code of a dense prediction model's authors."""
    STABLEHLO = "stablehlo"
    """JAX, without samjax."""
    ONNX = "onnx"
    """ONNX Runtime and others."""
    SAMJAX = "samjax"
    """A folder of weights for samjax."""


def export(
    checkpoint: str,
    out: str,
    format: Format,
    *,
    license: str = UNSPECIFIED,
    options: Any = None,
    average: bool = True,
) -> Path:
    """Write the weights of `checkpoint` and a model card to the folder `out`, atomically; return the folder.

    Args:
      checkpoint: what `load_weights_and_config` takes.
      out: a folder that does not exist yet, or is empty.
      format: the target software.
      license: licence of the weights, an SPDX or Hugging Face identifier.
      options: the format's own, an `OnnxOptions` or a `FolderOptions`; None takes its defaults.
      average: write the moving average of parameters where the run kept one; False writes the last step's.

    Raises:
      UserError: `out` is not empty, the checkpoint is not a complete model, the format cannot hold it, or a required
        package is not installed.
    """
    folder = Path(out).absolute()
    _check_out(out, folder)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", license):
        raise UserError(f"--license {license!r}: give an identifier, such as apache-2.0 or cc-by-nc-4.0")
    writers = [writer for writer in WRITERS if writer.format == format.value]
    if options is not None and not any(type(options) is writer.options for writer in writers):
        raise UserError(f"{options.FLAGS}, not {format.value}: remove them")
    for package, extra in dict.fromkeys(needed for writer in writers for needed in writer.needs):
        optional(package, extra=extra)
    configs = dict.fromkeys(writer.config for writer in writers)
    loaded = load_weights_and_config(checkpoint, *configs, needed_by=f"--format {format.value}", average=average)
    weights, writer = loaded.weights, _writer(writers, loaded.config, checkpoint)
    if options is None and writer.options is not None:
        options = writer.options()
    if not writer.takes_parts:
        loaded.check_whole()
    check_room(folder, sum(leaf.nbytes for leaf in jax.tree.leaves((weights.params, weights.buffers))))
    with whole_folder(folder) as partial:
        use = writer.write(weights.params, weights.buffers, loaded.config, partial, options)
        (partial / "README.md").write_text(card(weights, writer.about(loaded.config), use, license=license))
    return folder


def _writer(writers: Sequence[Writer], config: Any, checkpoint: str) -> Writer:
    """Return the format's writer for a model of `config`, the one at `checkpoint`."""
    of_class = [writer for writer in writers if writer.config is type(config)]
    found = [writer for writer in of_class if writer.holds(config)]
    if not found:
        others = [one for one in WRITERS if one.config is type(config) and one.holds(config)]
        raise UserError(
            f"{checkpoint} holds {model_words(type(config))}, of which --format {of_class[0].format} takes "
            f"{' or '.join(one.models for one in of_class)}: give another --format, "
            f"{' or '.join(dict.fromkeys(one.format for one in others))}"
        )
    return found[0]


def _check_out(out: str, folder: Path) -> None:
    if "://" in out:
        raise UserError(f"--out {out} is an address: give a local folder, and copy it to the bucket afterwards")
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if not is_empty and (folder.exists() or folder.is_symlink()):
        raise UserError(f"{out} exists already, and nothing is overwritten: give another --out")
    check_can_write(out)
