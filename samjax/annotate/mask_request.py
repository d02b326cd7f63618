"""What a browser sends of a mask, which may be anything: read into a mask, or refused in a sentence."""

import math
from typing import Any

from samjax.annotate.refusals import InvalidMaskError
from samjax.annotate.saved_mask import Effort, Prompts, SavedMask, Source

_MOST_DECODES = 1_000


def parse_mask(
    body: Any,
    *,
    uuid: str,
    annotator: str,
    runs: Any,
    model: str | None = None,
    predicted_iou: float | None = None,
    stability_score: float | None = None,
) -> SavedMask:
    """Return the mask that a request's JSON describes, for `AnnotationFolder.commit`, which checks the rest.

    Args:
      body: an object with `source` and, if given, `prompts`, `seconds`, `active_seconds`, `clicks` and `effort`; other
        keys are not looked at.
      runs: the mask's, of the body itself or of the candidate that it names.
      model: the checkpoint that answered, with its `predicted_iou` and `stability_score`; all None without one.

    Raises:
      InvalidMaskError: which field is wrong, and what it must be.
    """
    if not isinstance(body, dict):
        raise InvalidMaskError("the request is no JSON object")
    known = [source.value for source in Source]
    if (source := body.get("source")) not in known:
        raise InvalidMaskError(f"source is {_excerpt(source)}: give one of {', '.join(known)}")
    if not isinstance(runs, dict):
        raise InvalidMaskError('runs are not {"size": [height, width], "counts": text}, compressed COCO run lengths')
    return SavedMask(
        uuid=uuid,
        runs=runs,
        source=Source(source),
        annotator=annotator,
        seconds=_number(body.get("seconds", 0), "seconds"),
        active_seconds=_number(body.get("active_seconds", 0), "active_seconds"),
        clicks=_count(body, "clicks"),
        effort=_effort(body.get("effort")),
        model=model,
        predicted_iou=predicted_iou,
        stability_score=stability_score,
        prompts=parse_prompts(body.get("prompts")),
    )


def _effort(value: Any) -> Effort | None:
    """Return the effort in a JSON value, an object with the fields of `Effort`; None for null."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidMaskError(f"effort is {_excerpt(value)}: give an object")
    first, decodes = value.get("first_seconds"), value.get("decode_ms", [])
    if not isinstance(decodes, list) or len(decodes) > _MOST_DECODES:
        raise InvalidMaskError(f"decode_ms is {_excerpt(decodes)}: give a list of at most {_MOST_DECODES:,} numbers")
    return Effort(
        since=_count(value, "since"),
        first_seconds=None if first is None else _duration(first, "first_seconds"),
        boxes=_count(value, "boxes"),
        strokes=_count(value, "strokes"),
        undos=_count(value, "undos"),
        decode_ms=tuple(_duration(one, "decode_ms") for one in decodes),
    )


def _count(value: dict[str, Any], name: str) -> int:
    found = value.get(name, 0)
    if type(found) is not int or found < 0:
        raise InvalidMaskError(f"{name} is {_excerpt(found)}: give a count, 0 or more")
    return found


def _duration(value: Any, name: str) -> float:
    if (found := _number(value, name)) < 0:
        raise InvalidMaskError(f"{name} is {_excerpt(value)}: give 0 or more")
    return found


def parse_prompts(value: Any) -> Prompts:
    """Return the prompts in a JSON value, an object with `points`, `labels` and `box`; none for null.

    Raises:
      InvalidMaskError: it is no such object.
    """
    if value is None:
        return Prompts()
    if not isinstance(value, dict):
        raise InvalidMaskError(f"prompts is {_excerpt(value)}: give points, labels and box")
    points, labels, box = value.get("points") or [], value.get("labels") or [], value.get("box")
    if not isinstance(points, list) or not isinstance(labels, list):
        raise InvalidMaskError(f"points is {_excerpt(points)} and labels {_excerpt(labels)}: give lists")
    if not all(type(label) is int for label in labels):
        raise InvalidMaskError("labels are 1, foreground, or 0, background")
    places = [_numbers(point, 2, "a point") for point in points]
    return Prompts(
        points=tuple((x, y) for x, y in places),
        labels=tuple(labels),
        box=None if box is None else _box(box),
    )


def _box(value: Any) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = _numbers(value, 4, "box")
    return x0, y0, x1, y1


def _numbers(value: Any, length: int, name: str) -> list[float]:
    if not isinstance(value, list) or len(value) != length:
        raise InvalidMaskError(f"{name} is {_excerpt(value)}: give {length} numbers")
    return [_number(one, name) for one in value]


def _number(value: Any, name: str) -> float:
    """Return a finite number as a float: JSON writes 3.0 as 3, and a JSON integer may be too large for a float."""
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise InvalidMaskError(f"{name} is {_excerpt(value)}: give a number")


def _excerpt(value: Any) -> str:
    return repr(value)[:60]
