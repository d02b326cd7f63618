"""Prompts as a user gives them, arrays in pixels of the photo, checked and brought to what the model takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Float32, Int, Int32

from samjax.core.errors import UserError
from samjax.core.prompts import BOX_CORNERS, PointLabel, Prompts
from samjax.predict.promptable.photo_input import to_frame


@dataclass(frozen=True, kw_only=True)
class PhotoPrompts:
    """Prompts of m objects in one photo, in the frame's pixels, as NumPy arrays; see `core.prompts.Prompts`."""

    coords: Float32[np.ndarray, "m p 2"]
    labels: Int32[np.ndarray, "m p"]
    valid: Bool[np.ndarray, "m p"]
    mask_logits: Float32[np.ndarray, "m h w"] | None


def no_prompts() -> PhotoPrompts:
    """Return the prompts of a photo without objects."""
    return PhotoPrompts(
        coords=np.zeros((0, 0, 2), np.float32),
        labels=np.zeros((0, 0), np.int32),
        valid=np.zeros((0, 0), bool),
        mask_logits=None,
    )


def photo_prompts(
    *,
    points,
    labels,
    boxes,
    mask_logits,
    photo: tuple[int, int],
    fitted: tuple[int, int],
    logits_size: tuple[int, int],
) -> PhotoPrompts:
    """Check the prompts of one photo, see `Predictor.predict`, and scale them from `photo` to `fitted` pixels (h, w).

    Places less than a pixel outside the photo, as detectors' boxes have them, are moved to its border.

    Raises:
      UserError: there are none, or an object has none; shapes do not match each other; a number is not finite; a place
        is a pixel or more outside the photo; a label is neither 0 nor 1; a box's second corner lies left of or above
        its first.
    """
    if (points is None) != (labels is None):
        have, lack = ("points", "labels") if labels is None else ("labels", "points")
        raise UserError(f"{have} came without {lack}: each point needs a label, 1 on the object or 0 beside it")
    raw = {"points": points, "labels": labels, "boxes": boxes, "mask_logits": mask_logits}
    given, present = {}, {}
    for name, value in raw.items():
        if value is not None:
            given[name], present[name] = _padded(name, value)
    if not given:
        raise UserError("there is no prompt: give points with labels, boxes or mask_logits")
    _check_counts(present)
    shapes = {"points": ("m", "p", 2), "labels": ("m", "p"), "boxes": ("m", 4), "mask_logits": ("m", *logits_size)}
    objects = _check_shapes(given, shapes)
    for name, value in given.items():
        if not np.issubdtype(value.dtype, np.number) or not np.isfinite(value).all():
            raise UserError(f"{name} must be finite numbers, but {_first(~_finite(value), name)} is not")

    slots = given["labels"].shape[1] if "labels" in given else 0
    has_point = present.get("labels", np.zeros((objects, slots), bool))
    has_box = present.get("boxes", np.zeros(objects, bool))
    alone = ~has_box & ~has_point.any(axis=1)
    if "mask_logits" not in given and alone.any():
        raise UserError(f"object {np.argmax(alone)} has no prompt: give it a point with its label, or a box")

    # An object's points, then its box's corners or, of an object with points alone, the slot that stands for no box.
    coords = np.zeros((objects, slots + 2, 2), np.float32)
    kinds = np.full((objects, slots + 2), int(PointLabel.NOT_A_POINT), np.int32)
    valid = np.zeros(kinds.shape, bool)
    if slots:
        where = _points(given["points"], given["labels"], photo=photo)
        coords[:, :slots][has_point] = to_frame(where, photo=photo, fitted=fitted)[has_point]
        kinds[:, :slots][has_point] = given["labels"][has_point]
        valid[:, :slots] = has_point
    after = has_point.sum(axis=1)
    if "boxes" in given:
        corners = to_frame(_corners(given["boxes"], photo=photo), photo=photo, fitted=fitted)
        boxed = np.flatnonzero(has_box)
        for corner, kind in enumerate(BOX_CORNERS):
            place = (boxed, after[boxed] + corner)
            coords[place], kinds[place], valid[place] = corners[boxed, corner], kind, True
    unboxed = np.flatnonzero(~has_box & ~alone)
    valid[unboxed, after[unboxed]] = True
    used = int(valid.sum(axis=1).max())
    logits = given["mask_logits"].astype(np.float32) if "mask_logits" in given else None
    return PhotoPrompts(coords=coords[:, :used], labels=kinds[:, :used], valid=valid[:, :used], mask_logits=logits)


def stack_photos(
    photos: Sequence[PhotoPrompts], *, images: int, objects: int, slots: int, logits_size: tuple[int, int]
) -> Prompts:
    """Return the prompts of some photos as one, padded to these numbers; what is padding is not valid."""
    coords = np.zeros((images, objects, slots, 2), np.float32)
    labels = np.full((images, objects, slots), int(PointLabel.NOT_A_POINT), np.int32)
    valid = np.zeros(labels.shape, bool)
    logits = np.zeros((images, objects, *logits_size), np.float32)
    has_mask = np.zeros((images, objects), bool)
    for b, photo in enumerate(photos):
        m, p = photo.labels.shape
        coords[b, :m, :p], labels[b, :m, :p], valid[b, :m, :p] = photo.coords, photo.labels, photo.valid
        if photo.mask_logits is not None:
            logits[b, :m], has_mask[b, :m] = photo.mask_logits, True
    return Prompts(
        coords=jnp.asarray(coords),
        labels=jnp.asarray(labels),
        valid=jnp.asarray(valid),
        mask_logits=jnp.asarray(logits),
        has_mask=jnp.asarray(has_mask),
    )


def _padded(name: str, value: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return an argument as an array, and which of its points, labels or boxes are there.

    A list may have an entry of another length, or None, for each object: zeros then stand for what an object lacks.
    """
    try:
        array = np.asarray(value)
    except ValueError:  # entries of several shapes
        array = None
    if array is not None and (array.dtype != object or array.ndim == 0):
        return array, np.ones(array.shape[:2] if name in ("points", "labels") else array.shape[:1], bool)
    if name == "mask_logits":
        raise UserError("mask_logits must be one array, (m, low_h, low_w): single objects cannot omit theirs")
    row = {"points": (2,), "labels": (), "boxes": (4,)}[name]
    parts = [_part(f"{name}[{index}]", one, row, single=name == "boxes") for index, one in enumerate(value)]
    most = max((len(part) for part in parts), default=0)
    padded, present = np.zeros((len(parts), most, *row)), np.zeros((len(parts), most), bool)
    for index, part in enumerate(parts):
        padded[index, : len(part)], present[index, : len(part)] = part, True
    if name == "boxes":  # one an object at most
        return padded[:, 0] if most else np.zeros((len(parts), 4)), np.asarray(present.any(axis=1))
    return padded, present


def _part(name: str, one: Any, row: tuple[int, ...], *, single: bool) -> np.ndarray:
    """Return one object's rows, each of shape `row`; `single`: it has one, not in a list."""
    try:
        part = np.asarray([] if one is None else one)
    except ValueError:
        part = np.asarray(None)
    if part.size == 0:
        return np.zeros((0, *row))
    part = part[None] if single else part
    if part.shape[1:] != row or part.ndim != 1 + len(row):
        expected = ", ".join(str(size) for size in (row if single else ("p", *row)))
        raise UserError(f"{name} has shape {part.shape[1:] if single else part.shape}, expected ({expected})")
    if not np.issubdtype(part.dtype, np.number):
        raise UserError(f"{name} must be finite numbers, but is {part.ravel()[0]!r:.40}")
    return part


def _check_counts(present: dict[str, np.ndarray]) -> None:
    """Refuse an object with another number of labels than points, where objects have different numbers."""
    points, labels = present.get("points"), present.get("labels")
    if points is None or labels is None or points.ndim != 2 or labels.ndim != 2 or len(points) != len(labels):
        return
    counts = np.stack([labels.sum(axis=1), points.sum(axis=1)], axis=1)
    if not (points.all() and labels.all()) and (counts[:, 0] != counts[:, 1]).any():
        m = int(np.argmax(counts[:, 0] != counts[:, 1]))
        raise UserError(f"labels[{m}] has {counts[m, 0]} labels, but points[{m}] has {counts[m, 1]} points")


def _points(points: np.ndarray, labels: np.ndarray, *, photo: tuple[int, int]) -> Float32[np.ndarray, "m p 2"]:
    """Return points inside the photo, after a look at their labels."""
    wrong = np.asarray(np.isin(labels, (0, 1), invert=True))
    if wrong.any():
        raise UserError(f"labels are 1 on the object and 0 beside it, but {_first(wrong, 'labels')} is neither")
    return _inside(points, photo, "points", edge=False)


def _corners(boxes: np.ndarray, *, photo: tuple[int, int]) -> Float32[np.ndarray, "m 2 2"]:
    """Return both corners of each box inside the photo."""
    corners = boxes.astype(np.float64).reshape(-1, 2, 2)
    wrong = (corners[:, 1] < corners[:, 0]).any(axis=1)
    if wrong.any():
        raise UserError(
            f"boxes are x0, y0, x1, y1 with x0 <= x1 and y0 <= y1, but {_first(wrong, 'boxes')} is "
            f"{corners[np.argmax(wrong)].ravel().tolist()}"
        )
    return _inside(corners, photo, "boxes", edge=True)


def _check_shapes(given: dict[str, np.ndarray], shapes: dict[str, tuple]) -> int:
    """Return the number of objects that all agree on."""
    sizes: dict[str, tuple[str, int]] = {}
    for name, value in given.items():
        expected = shapes[name]
        if value.ndim != len(expected) or any(
            isinstance(want, int) and want != size for want, size in zip(expected, value.shape, strict=True)
        ):
            raise UserError(f"{name} has shape {value.shape}, expected ({', '.join(str(size) for size in expected)})")
        for letter, size in zip(expected, value.shape, strict=True):
            if isinstance(letter, int):
                continue
            other, before = sizes.setdefault(letter, (name, size))
            if size != before:
                what = "objects (m)" if letter == "m" else "points an object (p)"
                raise UserError(f"{name} has {size} {what}, but {other} has {before}")
            if size == 0:
                raise UserError(f"{name} is empty: shape {value.shape}; omit it, or give at least one object")
    return sizes["m"][1]


def _inside(
    coords: Float[np.ndarray, "m k 2"] | Int[np.ndarray, "m k 2"], photo: tuple[int, int], name: str, *, edge: bool
) -> Float32[np.ndarray, "m k 2"]:
    """Return places inside the photo: those less than a pixel outside are moved; `edge` allows its far border."""
    size = np.array(photo[::-1], np.float32)
    wrong = ((coords <= -1) | (coords >= size + 1)).any(axis=-1)
    if wrong.any():
        m, k = np.argwhere(wrong)[0]
        x, y = (np.format_float_positional(place, trim="-") for place in coords[m, k])
        raise UserError(
            f"{name} of object {m}: ({x}, {y}) is outside the photo, which is {photo[1]} wide and {photo[0]} high"
        )
    return np.clip(coords.astype(np.float32), 0, size if edge else np.nextafter(size, np.float32(0)))


def _finite(value: np.ndarray) -> np.ndarray:
    return np.isfinite(value) if np.issubdtype(value.dtype, np.number) else np.zeros(value.shape, bool)


def _first(wrong: npt.ArrayLike, name: str) -> str:
    """Return the first wrong place in an array as `name[2, 0]`."""
    return f"{name}[{', '.join(str(i) for i in np.argwhere(wrong)[0])}]"
