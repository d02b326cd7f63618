"""Prompts as a user gives them, arrays in pixels of the photo, checked and brought to what the model takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int32

from samjax.core.errors import UserError
from samjax.core.types import PointLabel, Prompts
from samjax.predict.photo import to_frame


@dataclass(frozen=True, kw_only=True)
class PhotoPrompts:
    """Prompts of m objects in one photo, in the frame's pixels, as NumPy arrays; see `core.types.Prompts`."""

    coords: Float32[np.ndarray, "m p 2"]
    labels: Int32[np.ndarray, "m p"]
    mask_logits: Float32[np.ndarray, "m h w"] | None


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

    Raises:
      UserError: there are none; shapes do not fit each other; a number is not finite; a place is outside the photo; a
        label is neither 0 nor 1; a box's second corner lies left of or above its first.
    """
    given = {"points": points, "labels": labels, "boxes": boxes, "mask_logits": mask_logits}
    given = {name: np.asarray(value) for name, value in given.items() if value is not None}
    if ("points" in given) != ("labels" in given):
        have, lack = ("points", "labels") if "points" in given else ("labels", "points")
        raise UserError(f"{have} came without {lack}: each point needs a label, 1 on the object or 0 beside it")
    if not given:
        raise UserError("there is no prompt: give points with labels, boxes or mask_logits")
    shapes = {"points": ("m", "p", 2), "labels": ("m", "p"), "boxes": ("m", 4), "mask_logits": ("m", *logits_size)}
    objects = _check_shapes(given, shapes)
    for name, value in given.items():
        if not np.issubdtype(value.dtype, np.number) or not np.isfinite(value).all():
            raise UserError(f"{name} must be finite numbers, but {_first(~_finite(value), name)} is not")

    coords, kinds = np.zeros((objects, 0, 2), np.float32), np.zeros((objects, 0), np.int32)
    if "points" in given:
        where, kinds = given["points"].astype(np.float32), given["labels"].astype(np.int32)
        wrong = np.asarray(np.isin(given["labels"], (0, 1), invert=True))
        if wrong.any():
            raise UserError(f"labels are 1 on the object and 0 beside it, but {_first(wrong, 'labels')} is neither")
        _check_inside(where, photo, "points", edge=False)
        coords = to_frame(where, photo=photo, fitted=fitted)
        if "boxes" not in given:  # what stands for no box
            coords = np.pad(coords, ((0, 0), (0, 1), (0, 0)))
            kinds = np.pad(kinds, ((0, 0), (0, 1)), constant_values=int(PointLabel.NOT_A_POINT))
    if "boxes" in given:
        corners = given["boxes"].astype(np.float32).reshape(objects, 2, 2)
        wrong = (corners[:, 1] < corners[:, 0]).any(axis=1)
        if wrong.any():
            raise UserError(
                f"boxes are x0, y0, x1, y1 with x0 <= x1 and y0 <= y1, but {_first(wrong, 'boxes')} is "
                f"{corners[np.argmax(wrong)].ravel().tolist()}"
            )
        _check_inside(corners, photo, "boxes", edge=True)
        coords = np.concatenate([coords, to_frame(corners, photo=photo, fitted=fitted)], axis=1)
        both = np.array([PointLabel.BOX_MIN, PointLabel.BOX_MAX], np.int32)
        kinds = np.concatenate([kinds, np.broadcast_to(both, (objects, 2))], axis=1)
    logits = given["mask_logits"].astype(np.float32) if "mask_logits" in given else None
    return PhotoPrompts(coords=coords.astype(np.float32), labels=kinds, mask_logits=logits)


def stacked(
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
        coords[b, :m, :p], labels[b, :m, :p], valid[b, :m, :p] = photo.coords, photo.labels, True
        if photo.mask_logits is not None:
            logits[b, :m], has_mask[b, :m] = photo.mask_logits, True
    return Prompts(
        coords=jnp.asarray(coords),
        labels=jnp.asarray(labels),
        valid=jnp.asarray(valid),
        mask_logits=jnp.asarray(logits),
        has_mask=jnp.asarray(has_mask),
    )


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
                raise UserError(f"{name} is empty: shape {value.shape}; leave it out, or give one object at least")
    return sizes["m"][1]


def _check_inside(coords: Float32[np.ndarray, "m k 2"], photo: tuple[int, int], name: str, *, edge: bool) -> None:
    """Refuse places outside the photo; `edge` allows those on its far border."""
    limit = np.array(photo[::-1], np.float32)
    wrong = ((coords < 0) | ((coords > limit) if edge else (coords >= limit))).any(axis=-1)
    if wrong.any():
        m, k = np.argwhere(wrong)[0]
        x, y = coords[m, k].tolist()
        raise UserError(
            f"{name} of object {m}: ({x:g}, {y:g}) is outside the photo, which is {photo[1]} wide and {photo[0]} high"
        )


def _finite(value: np.ndarray) -> np.ndarray:
    return np.isfinite(value) if np.issubdtype(value.dtype, np.number) else np.zeros(value.shape, bool)


def _first(wrong: npt.ArrayLike, name: str) -> str:
    """Return the first wrong place in an array as `name[2, 0]`."""
    return f"{name}[{', '.join(str(i) for i in np.argwhere(wrong)[0])}]"
