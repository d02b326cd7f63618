"""A folder of weights for samjax itself: a run's model without its optimiser's state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from samjax.checkpoint.load import model_record
from samjax.checkpoint.weights import write_weights
from samjax.interop.card import Use


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How the arrays are stored, and what lies beside them."""

    FLAGS: ClassVar[str] = "--bfloat16 and --settings are for --format samjax"

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the parameters; bfloat16 halves the folder and is widened again when it is read."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Text files by name, such as the generator's settings."""


def write_folder(params: Any, buffers: Any, config: Any, folder: Path, options: FolderOptions) -> Use:
    """Write the model to the empty `folder`, and return what its card says."""
    if options.dtype == "bfloat16":
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    write_weights(folder, params=params, buffers=buffers, config=model_record(config))
    for mark in folder.rglob("commit_success.txt"):  # Orbax writes there where on this machine the folder was saved
        mark.write_text("Checkpoint commit was successful")
    for name, text in options.files.items():
        (folder / name).write_text(text)
    return Use(
        library="samjax",
        files=f"A checkpoint of samjax, parameters in {options.dtype}: give this folder as `--checkpoint` or "
        "`--init-from`.",
        python=f"""\
from samjax.checkpoint.load import load_model
from {type(config).__module__} import {type(config).__name__}

loaded = load_model(".", {type(config).__name__})  # its config and its module
""",
    )
