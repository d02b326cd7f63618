"""Encoder and decoder as StableHLO, for CPUs, TPUs and NVIDIA GPUs, with their weights beside them."""

from pathlib import Path

import jax
import numpy as np
from jax import export

from samjax.core.optional import optional
from samjax.interop.formats.portable import Half

PLATFORMS = ("cpu", "tpu", "cuda")


def write_stablehlo(half: Half, folder: Path) -> None:
    """Write NAME.stablehlo, a function of named weights and inputs, and NAME.safetensors, the weights.

    Products are float32's on every platform: TPUs and GPUs have shorter ones by default.

    Raises:
      UserError: safetensors or flatbuffers is not installed.
    """
    save_arrays = optional("safetensors.numpy", extra="interop").save_file
    optional("flatbuffers", extra="interop")  # JAX serialises with it
    weights = {name: jax.ShapeDtypeStruct(array.shape, np.float32) for name, array in half.weights.items()}
    with jax.default_matmul_precision("highest"):
        exported = export.export(jax.jit(half.call), platforms=PLATFORMS)(weights, *half.inputs.values())
    (folder / f"{half.name}.stablehlo").write_bytes(exported.serialize())
    save_arrays(half.weights, folder / f"{half.name}.safetensors")
