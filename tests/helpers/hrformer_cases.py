"""HRFormer as small as the authors' code allows, with drawn weights and photos: what its goldens are of."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from helpers.drawn_by_key import drawn_by_key
from samjax.interop.tables.hrnet_rows import AUTHORS, hrnet_rows
from samjax.interop.tables.ocr_rows import ocr_rows
from samjax.models.heads.ocr import OcrConfig, OcrHead
from samjax.models.hrnet.hrnet import Hrnet, HrnetConfig

GOLDEN = Path(__file__).parent.parent / "golden" / "hrformer.npz"
"""Outputs of the authors' code in double precision, of the first photo alone; by case and part."""
CONFIG = HrnetConfig(widths=(8, 12, 12, 16), heads=(1, 2, 3, 4), modules=(1, 1, 1), blocks=1, window=5, mlp_ratio=2)
"""Windows of 5 divide no side of the maps below: most are padded on both sides, more of it after than before."""
SIDES = {"square": (64, 64), "wide": (32, 64), "odd": (53, 77)}
"""Of photos, in pixels."""
OCR = OcrConfig(width=16, key_width=8, auxiliary_width=16, dropout=0.0)
CLASSES = 3
FLOAT32 = jnp.dtype("float32")
STATISTICS = {
    "stage4.0.fuse_layers.0.3.1.running_var": "stages/2/modules/0/fuse/0/up/2/norm/variance",
    "stage4.0.branches.3.0.mlp.norm2.running_var": "stages/2/modules/0/branches/3/0/mlp/depthwise/norm/variance",
    "transition3.3.0.1.running_mean": "stages/2/transition/down/norm/mean",
}
"""Running statistics that goldens have, by the authors' keys."""


def photos(sides: tuple[int, int]) -> np.ndarray:
    """Two normalised photos."""
    return np.random.default_rng(sides).normal(size=(2, *sides, 3)).astype(np.float32)


def maps() -> tuple[np.ndarray, ...]:
    """Maps for a head, as of an odd photo."""
    draw, sides = np.random.default_rng(7), ((12, 16), (6, 8), (3, 4), (2, 2))
    pairs = zip(sides, CONFIG.widths, strict=True)
    return tuple(draw.normal(size=(2, *side, width)).astype(np.float32) for side, width in pairs)


def backbone(config: HrnetConfig = CONFIG) -> tuple[Hrnet, dict[str, np.ndarray]]:
    """The network, and its weights by the authors' keys."""
    rows = hrnet_rows(config, prefixes={AUTHORS: ""})
    return drawn_by_key(lambda *, rngs: Hrnet(config, dtype=FLOAT32, rngs=rngs), rows, {}, AUTHORS)


def ocr_head() -> tuple[OcrHead, dict[str, np.ndarray]]:
    """The head, and its weights by the authors' keys."""

    def make(*, rngs):
        return OcrHead(OCR, channels=CONFIG.widths, classes=CLASSES, dtype=FLOAT32, rngs=rngs)

    return drawn_by_key(make, ocr_rows(OCR, prefixes={AUTHORS: ""}), {}, AUTHORS)


def outputs(module: nnx.Module, inputs, *, training: bool):
    """Return what the module makes of its inputs, and its variables afterwards, compiled."""
    graph, variables = nnx.split(module)

    @jax.jit
    def apply(variables, inputs):
        module = nnx.merge(graph, variables)
        out = module(inputs, key=jax.random.key(0) if training else None)
        return out, nnx.to_pure_dict(nnx.state(module))

    return apply(nnx.to_pure_dict(variables), jax.tree.map(jnp.asarray, inputs))
