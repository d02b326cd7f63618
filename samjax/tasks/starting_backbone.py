"""A dense prediction model that starts from one of other classes, frame or window, or from a plain ViT."""

import dataclasses
import re
from dataclasses import replace
from typing import Any

import numpy as np

from samjax.checkpoint.weights import Weights
from samjax.core.errors import UserError
from samjax.core.tree import named_leaves, nest
from samjax.models.backbone import BackboneConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.hrnet.hrnet import HrnetConfig
from samjax.models.hrnet.hrnet_sizes import BranchBlock
from samjax.models.mae import MaeConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.models.vit.tapped_vit import TappedVitConfig
from samjax.nn.interpolate import Method
from samjax.nn.resize import resize_position_rows, resize_positions
from samjax.nn.structure import array_shapes
from samjax.tasks.starting_encoder import check_sizes

_SIZES = ("patch", "width", "depth", "heads", "mlp_ratio")
_TOKENS = ("class_token", "distillation_token")
"""Learned tokens, in the order in which a table has their positions."""


def differs(theirs: DenseConfig, ours: DenseConfig) -> bool:
    """Return whether weights of a model `theirs` must be converted for `ours`, of other classes, frame or window."""
    windows = _window(theirs), _window(ours)
    return theirs.classes != ours.classes or theirs.image_size != ours.image_size or windows[0] != windows[1]


def dense_of_dense(weights: Weights, theirs: DenseConfig, ours: DenseConfig) -> Weights:
    """Return weights of a dense prediction model for one of other classes, another frame or other attention windows.

    What has a channel or a token for each class starts fresh; position tables are resized bilinearly, as SETR,
    Segmenter and PVT do; tables of the offsets in a window bicubically, as Swin's authors do. Whatever else differs
    stays, for `check_weights` to refuse.

    Raises:
      UserError: one gives depth, and the other classes.
    """
    if theirs.head.GIVES_DEPTH != ours.head.GIVES_DEPTH:
        gives = ("classes", "depth")
        raise UserError(
            f"init_from: {weights.path} gives {gives[theirs.head.GIVES_DEPTH]}, this run's model "
            f"{gives[ours.head.GIVES_DEPTH]}, whose head is another: give weights of such a model, or of a plain ViT"
        )
    notes: list[str] = []
    params, buffers = named_leaves(weights.params), named_leaves(weights.buffers)
    if theirs.classes != ours.classes:
        own, others = array_shapes(theirs.make), array_shapes(_with_classes(theirs, ours.classes).make)
        fresh = [path for path, shape in own.items() if others[path] != shape and path in params]
        params = {path: leaf for path, leaf in params.items() if path not in fresh}
        if fresh:
            rooms = sorted({path.rpartition("/")[0] if path.endswith(("kernel", "bias")) else path for path in fresh})
            notes.append(
                f"the weights are of {theirs.classes} classes, this run of {ours.classes}: {', '.join(rooms)} start "
                "fresh"
            )
    wanted = array_shapes(ours.make)
    for path, leaf in params.items():
        if path.endswith("/position") and path in wanted and leaf.shape != wanted[path]:
            old, new = (_grid(config, path) for config in (theirs, ours))
            if _extra(leaf.shape, old) == _extra(wanted[path], new) and leaf.shape[-1] == wanted[path][-1]:
                params[path] = _resized(leaf, old, new)
                notes.append(f"{path}: {_times(old)} to {_times(new)} tokens, bilinearly")
    resized = [path for path, leaf in params.items() if _is_of_other_window(path, leaf.shape, wanted.get(path))]
    for path in resized:
        rows, columns, _ = wanted[path]
        params[path] = resize_positions(params[path], (rows, columns))
    if resized:
        notes.append(
            f"attention windows of {_window(theirs)} to {_window(ours)} tokens a side: {len(resized)} tables of their "
            "offsets, bicubically"
        )
    return dataclasses.replace(weights, params=nest(params), buffers=nest(buffers), notes=(*weights.notes, *notes))


def has_other_vit(theirs: DenseConfig, ours: DenseConfig) -> bool:
    """Return whether `theirs` has a plain ViT with its last norm, as those of ImageNet, and `ours` one of another kind:
    with taps, other learned tokens or readouts."""

    def kind(encoder: BackboneConfig) -> tuple[Any, ...]:
        names = ("taps", "map_norms", "class_token", "distillation_token", "patch_bias")
        return type(encoder), *(getattr(encoder, name, None) for name in names)

    if not isinstance(theirs.encoder, TappedVitConfig) or theirs.encoder.taps or not theirs.encoder.map_norms:
        return False
    return isinstance(ours.encoder, TappedVitConfig | DptVitConfig) and kind(theirs.encoder) != kind(ours.encoder)


def backbone_of_vit(weights: Weights, theirs: MaeConfig | DenseConfig, ours: DenseConfig) -> Weights:
    """Return the plain ViT of `theirs` as that of a model `ours`; all else starts fresh.

    Positions are resized bilinearly and trained from now on; MAE's are sines and cosines, where a learned token's is
    zero. Learned tokens that `ours` has not are left out. The last norm becomes that of the last map, where maps have
    norms.

    Raises:
      UserError: the backbone is no plain ViT, or one of other sizes.
    """
    name, backbone = f"init_from: {weights.path}", ours.encoder
    if not isinstance(backbone, TappedVitConfig | DptVitConfig) or getattr(backbone, "resnet", None) is not None:
        raise UserError(
            f"{name} holds {theirs.WORDS}, whose encoder is a plain ViT, but this run's backbone is "
            f"{type(backbone).__name__}; give weights of such a backbone"
        )
    check_sizes(name, theirs, backbone, _SIZES)
    place = "encoder/vit" if isinstance(backbone, DptVitConfig) else "encoder"
    given, wanted = named_leaves(weights.params["encoder"]), array_shapes(ours.make)
    last = f"encoder/norms/{backbone.maps - 1}" if isinstance(backbone, TappedVitConfig) else ""
    notes, first = [], {}
    if isinstance(theirs, MaeConfig):
        table = np.asarray(weights.buffers["encoder"]["position"])
        notes.append("positions: those of the masked autoencoder, trained from now on")
    else:
        rows, tokens = np.asarray(given.pop("position")), [token for token in _TOKENS if token in given]
        first = dict(zip(tokens, rows, strict=False))
        table = rows[len(tokens) :].reshape(*_grid(theirs, "encoder/position"), -1)
    params: dict[str, np.ndarray] = {}
    for path, leaf in given.items():
        of_norm = re.sub(r"^(norm|norms/0)/", f"{last}/", path)
        into = of_norm if of_norm != path else f"{place}/{path}"
        if into in wanted:
            params[into] = leaf
        elif path in _TOKENS:
            notes.append(f"{path}: this run's backbone has none")
    grid = _grid(ours, f"{place}/position")
    if table.shape[:2] != grid:
        notes.append(f"position table: {_times(table.shape[:2])} to {_times(grid)} tokens, bilinearly")
        table = resize_positions(table, grid, method=Method.BILINEAR)
    shape = wanted[f"{place}/position"]
    if len(shape) == 2:
        zeros = np.zeros(shape[1], np.float32)
        own = [first.get(token, zeros) for token in _TOKENS if f"{place}/{token}" in wanted]
        table = np.concatenate([np.stack(own), table.reshape(-1, shape[1])])
    params[f"{place}/position"] = table
    return dataclasses.replace(weights, params=nest(params), buffers={}, notes=(*weights.notes, *notes))


def _with_classes(model: DenseConfig, classes: int) -> DenseConfig:
    return replace(model, classes=classes, class_names=(), class_colours=())


def _window(model: DenseConfig) -> int | None:
    """Return the side of an attention window in tokens, None without windows that a table depends on."""
    encoder = model.encoder
    if not isinstance(encoder, HrnetConfig) or encoder.block is not BranchBlock.TRANSFORMER:
        return None
    return encoder.window


def _is_of_other_window(path: str, shape: tuple[int, ...], wanted: tuple[int, ...] | None) -> bool:
    """Return whether an array is a table of the offsets in a window, and another model's has other sides."""
    if wanted is None or not path.endswith("/attention/offsets") or len(shape) != len(wanted):
        return False
    return shape[:2] != wanted[:2] and shape[2:] == wanted[2:]


def _grid(model: DenseConfig, path: str) -> tuple[int, int]:
    """Return (height, width) of the table of positions at `path`, in tokens."""
    encoder: Any = model.encoder
    height, width = getattr(encoder, "table_size", None) or model.image_size
    stride = getattr(encoder, "patch", None)
    if stride is None:  # a pyramid, with a table for each stage
        stride = encoder.strides[int(path.split("/")[2])]
    return height // stride, width // stride


def _extra(shape: tuple[int, ...], grid: tuple[int, int]) -> int:
    """Return how many rows of a table are learned tokens'."""
    return 0 if len(shape) == 3 else shape[0] - grid[0] * grid[1]


def _resized(table: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    if table.ndim == 3:
        return resize_positions(table, new, method=Method.BILINEAR)
    return resize_position_rows(table, old, new, method=Method.BILINEAR)


def _times(grid: tuple[int, ...]) -> str:
    return " x ".join(map(str, grid))
