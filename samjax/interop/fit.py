"""An image encoder's arrays brought to the frame, patch and window of a config, where theirs are others."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.resize import resize_kernel, resize_positions, resize_relative
from samjax.interop.table import Naming
from samjax.interop.torch_weights import entries
from samjax.models.sam.config import SamConfig
from samjax.models.sam.sam import array_shapes

_CLASS_TOKENS = ("cls_token", "dist_token")


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A state dict whose tables have the config's sizes, and a sentence for each kind that had others."""

    arrays: dict[str, np.ndarray]
    changes: list[str]


def fit(arrays: Mapping[str, np.ndarray], config: SamConfig, naming: Naming) -> Fitted:
    """Resize position tables and patch embedding to those of `config`; what is right stays as it is, bit for bit.

    A plain ViT's relative position tables start at zero where it has none, as in ViTDet. Arrays that do not lend
    themselves to it are left for `from_torch` to name.

    Raises:
      UserError: a position table that is no grid, or patches larger than those of `config`.
    """
    fitted, changes = dict(arrays), []
    expected, tables, absent = array_shapes(config), 0, 0
    for entry in entries(config, naming):
        key, last = entry.keys[0], entry.path.rsplit("/", 1)[-1]
        shape = entry.layout.torch_shape(expected[entry.path][len(entry.index) :])
        if key not in fitted:
            if naming is Naming.VIT and last in ("row_positions", "column_positions"):
                fitted[key], absent = np.zeros(shape, np.float32), absent + 1
            continue
        old = fitted[key]
        if entry.path == "image_encoder/position":
            table = _grid(old, key, sum(token in arrays for token in _CLASS_TOKENS))
            if not np.array_equal(table.shape, shape[1:]):
                fitted[key] = resize_positions(table, config.grid)[None]
                changes.append(f"{key}: {_times(table.shape[:2])} to {_times(config.grid)} tokens, bicubically")
            else:
                fitted[key] = table[None]
        elif old.shape == shape or old.ndim != len(shape):
            continue
        elif entry.path == "image_encoder/patch_embed/kernel" and old.shape[:2] == shape[:2]:
            if old.shape[-1] > shape[-1]:
                raise UserError(
                    f"{key} takes patches of {_times(old.shape[2:])} pixels, and no kernel of {_times(shape[2:])} sees "
                    "all that it saw: give weights with patches of at most that"
                )
            fitted[key] = resize_kernel(old, shape[-1])
            changes.append(f"{key}: {_times(old.shape[2:])} to {_times(shape[2:])} pixels, by pseudoinverse")
        elif last in ("row_positions", "column_positions") and old.shape[1] == shape[1]:
            fitted[key], tables = resize_relative(old, shape[0]), tables + 1
    if tables:
        changes.append(f"{tables} relative position tables: to the map's and the window's sides, linearly")
    if absent:
        changes.append(f"{absent} relative position tables: there are none, they start at zero")
    return Fitted(arrays=fitted, changes=changes)


def _grid(table: np.ndarray, key: str, class_tokens: int) -> np.ndarray:
    """Return an absolute position table as [h w c], without the rows of class tokens."""
    if table.ndim == 4 and table.shape[0] == 1:
        return table[0]
    if table.ndim == 3 and table.shape[0] == 1:
        for dropped in (class_tokens, 0, 1):  # ViTDet's keeps the row without the token, some of timm's the reverse
            tokens = table.shape[1] - dropped
            side = round(max(tokens, 0) ** 0.5)
            if side and side**2 == tokens:
                return table[0, dropped:].reshape(side, side, -1)
    raise UserError(f"{key} has shape {table.shape}, expected a square of tokens, with or without one for the class")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
