"""SAM's image encoder from a plain ViT's arrays, or from its own of another frame: initial values of training.

Position tables and patch embedding are resized where theirs have other sizes; what has the right size stays as it is,
bit for bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves, nest
from samjax.models.sam.sam import SamConfig
from samjax.nn.resize import resize_kernel, resize_positions, resize_relative
from samjax.nn.structure import array_shapes

_ENCODER, _NECK, _STACKS = "image_encoder/", "image_encoder/neck/", "groups/"
_POSITION, _KERNEL = "position", "patch_embed/kernel"
_RELATIVE = ("row_positions", "column_positions")


@dataclass(frozen=True, kw_only=True)
class FittedEncoder:
    """Arrays for an image encoder, and a sentence for each kind that was resized."""

    params: dict[str, Any]
    """Nested dictionaries under `image_encoder`."""
    changes: tuple[str, ...]


def block_place(number: int, *, every: int) -> tuple[str, tuple[int, ...]]:
    """Return the folder under `groups` where a block's arrays are stacked, and its index there."""
    group, position = divmod(number, every)
    return ("full", (group,)) if position == every - 1 else ("windowed", (group, position))


def encoder_from_vit(arrays: Mapping[str, np.ndarray], config: SamConfig, *, class_rows: int = 0) -> FittedEncoder:
    """Return the image encoder of a model of `config`, without its neck, from a plain ViT's arrays.

    Relative position tables begin at zero where there are none, as ViTDet's do: they add nothing to the first pass.

    Args:
      arrays: by path: `patch_embed/kernel` [p p 3 c] and `patch_embed/bias`; `position`, [h w c] or [n c], with or
        without rows of class tokens in front; of each block `blocks/N/norm1/scale`, `blocks/N/attention/qkv/kernel`
        [c 3 heads d] and so on, as SAM's encoder calls and arranges a block's arrays.
      class_rows: how many class tokens the ViT has, whose rows a table [n c] may begin with.

    Raises:
      UserError: a table that is no grid, patches larger than those of `config`, or arrays that are missing, unexpected
        or of another shape: all of them by path.
    """
    fit, encoder = _Fit(config), config.image_encoder
    given = dict(arrays)
    if _POSITION in given:
        given[_POSITION] = position_grid(given[_POSITION], class_rows)
    shapes = _encoder_shapes(config)
    params = {path: np.zeros(shape, np.float32) for path, shape in shapes.items()}
    places: dict[str, tuple[str, tuple[int, ...]]] = {
        path: (path, ()) for path in shapes if not path.startswith(_STACKS)
    }
    for number in range(encoder.depth):
        folder, index = block_place(number, every=encoder.global_every)
        start = f"{_STACKS}{folder}/"
        stacked = [path for path in shapes if path.startswith(start)]
        places |= {f"blocks/{number}/{path.removeprefix(start)}": (path, index) for path in stacked}
    fit.faults += [f"{name} is unexpected" for name in given if name not in places]
    for name, (path, index) in places.items():
        params[path][index] = fit.fitted(name, given.get(name), shapes[path][len(index) :])
    return fit.result(params, "the arrays are not those of a plain ViT for this image encoder")


def vit_arrays(params: Mapping[str, Any], *, position: np.ndarray) -> dict[str, np.ndarray]:
    """Return what `encoder_from_vit` takes, from the parameters of a `models.vit.Vit` whose blocks are all global.

    Its class token and its final norm are left out: SAM's encoder has neither.

    Args:
      params: nested dictionaries, as of a checkpoint's `encoder`.
      position: its table [h w c], a parameter or a buffer.
    """
    arrays, start = {_POSITION: position}, f"{_STACKS}full/"
    for path, array in named_leaves(params).items():
        if path.startswith(start):
            blocks = {f"blocks/{number}/{path.removeprefix(start)}": layer for number, layer in enumerate(array)}
            arrays |= blocks
        elif path.startswith("patch_embed/"):
            arrays[path] = array
    return arrays


def resize_encoder(params: Mapping[str, Any], config: SamConfig) -> FittedEncoder:
    """Return an image encoder's parameters, with its neck if there is one, for the frame of `config`.

    Raises:
      UserError: arrays that are missing, unexpected or of another shape, but for position tables.
    """
    fit, given = _Fit(config), named_leaves(params)
    shapes = _encoder_shapes(config, neck=any((_ENCODER + path).startswith(_NECK) for path in given))
    fit.faults += [f"{path} is unexpected" for path in given if path not in shapes]
    fitted = {path: fit.fitted(path, given.get(path), shape) for path, shape in shapes.items()}
    return fit.result(fitted, "the arrays are not those of this image encoder")


def position_grid(table: np.ndarray, class_rows: int = 0) -> np.ndarray:
    """Return an absolute position table, [h w c] or [n c], as [h w c], without the rows of class tokens.

    Raises:
      UserError: it is no square of tokens.
    """
    if table.ndim == 3:
        return table
    for dropped in (class_rows, 0, 1) if table.ndim == 2 else ():
        # ViTDet's keeps the row without the token, some of timm's the reverse
        tokens = table.shape[0] - dropped
        side = round(max(tokens, 0) ** 0.5)
        if side and side**2 == tokens:
            return table[dropped:].reshape(side, side, -1)
    raise UserError(
        f"the position table has shape {table.shape}, expected a square of tokens, with or without one for the class"
    )


class _Fit:
    """Arrays brought to the shapes of a config, one at a time, and what was done to them."""

    def __init__(self, config: SamConfig):
        self.config = config
        self.faults: list[str] = []
        self.changes: list[str] = []
        self.resized = self.absent = 0

    def fitted(self, name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array called `name`, None if there is none, with this shape; what cannot be is a fault."""
        last = name.rsplit("/", 1)[-1]
        if array is None:
            if last in _RELATIVE:
                self.absent += 1
            else:
                self.faults.append(f"{name} is missing")
        elif array.shape == shape:
            return array
        elif name == _POSITION and array.ndim == 3 and array.shape[2] == shape[2]:
            self.changes.append(f"position table: {_times(array.shape[:2])} to {_times(shape[:2])} tokens, bicubically")
            return resize_positions(array, (shape[0], shape[1]))
        elif name == _KERNEL and array.ndim == 4 and array.shape[2:] == shape[2:]:
            return self._kernel(array, shape[0])
        elif last in _RELATIVE and array.shape[:-2] == shape[:-2] and array.shape[-1] == shape[-1]:
            tables = array.reshape(-1, *array.shape[-2:])
            self.resized += len(tables)
            return np.stack([resize_relative(table, shape[-2]) for table in tables]).reshape(shape)
        else:
            self.faults.append(f"{name} has shape {array.shape}, expected {shape}")
        return np.zeros(shape, np.float32)

    def _kernel(self, kernel: np.ndarray, patch: int) -> np.ndarray:
        old = kernel.shape[:2]
        if old[0] > patch:
            raise UserError(
                f"the patch embedding takes patches of {_times(old)} pixels, and no kernel of {patch} x {patch} sees "
                "all that it saw: give weights with patches of at most that"
            )
        self.changes.append(f"patch embedding: {_times(old)} to {patch} x {patch} pixels, by pseudoinverse")
        channels_first = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        return resize_kernel(channels_first, patch).transpose(2, 3, 1, 0)

    def result(self, params: Mapping[str, np.ndarray], what: str) -> FittedEncoder:
        if self.faults:
            raise UserError(f"{what} ({len(self.faults)} faults): {'; '.join(self.faults)}")
        if self.resized:
            self.changes.append(
                f"{self.resized} relative position tables: to the map's and the window's sides, linearly"
            )
        if self.absent:
            self.changes.append(f"{self.absent} relative position tables: there are none, they start at zero")
        return FittedEncoder(params={"image_encoder": nest(params)}, changes=tuple(self.changes))


def _encoder_shapes(config: SamConfig, *, neck: bool = False) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the image encoder's arrays, by path in it."""
    return {
        path.removeprefix(_ENCODER): shape
        for path, shape in array_shapes(config.make).items()
        if path.startswith(_ENCODER) and (neck or not path.startswith(_NECK))
    }


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
