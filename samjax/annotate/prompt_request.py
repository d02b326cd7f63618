"""What an annotator asks of the model: prompts on a photo, as the page sends them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samjax.core.errors import UserError

MOST_POINTS = 126
"""Points of a request; with a box's corners they fill 128 prompt slots."""

_FIELDS = {"points", "labels", "box", "previous", "generation", "hover"}


class NewerRequest(Exception):  # noqa: N818  no error: the answer is not wanted any more
    """The annotator sent a newer request before this one was answered."""


@dataclass(frozen=True, kw_only=True)
class PromptRequest:
    """Prompts of one object. Places are (x, y) in pixels of the photo."""

    annotator: str
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    """Of each point: 1 on the object, 0 beside it."""
    box: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1."""
    previous: str | None = None
    """The handle of the candidate that these prompts refine: its logits are a prompt too."""
    generation: int = 0
    """Rises with each act of the page, which drops answers to older ones."""
    is_hover: bool = False
    """A preview: clicks go first."""

    @property
    def is_ambiguous(self) -> bool:
        """Whether this is a single point or box and nothing else.

        Such a request gets three candidates, any other one mask: the training interaction's rule
        (`samjax.prompting.interactive`).
        """
        return self.previous is None and len(self.points) + (self.box is not None) == 1


def parse_request(body: Any, *, annotator: str) -> PromptRequest:
    """Return the request in a body of `POST /api/photos/ID/predict`: the JSON object that was decoded from it.

    Its keys are points [[x, y], ...], labels [0 | 1, ...], box [x0, y0, x1, y1] or null, previous (a handle or null),
    generation and hover; missing ones have their defaults. Whether places lie inside the photo is checked where the
    photo is known.

    Raises:
      UserError: it is not an object, or a key is unknown, or a value is of another kind; the message says which.
    """
    if not isinstance(body, Mapping):
        raise UserError("the request must be a JSON object with points, labels, box, previous, generation and hover")
    if unknown := sorted(str(name) for name in set(body) - _FIELDS):
        raise UserError(f"the request has a key {unknown[0]!r:.40}, expected only {', '.join(sorted(_FIELDS))}")
    points = [_numbers(point, f"points[{n}]", 2) for n, point in enumerate(_items(body.get("points"), "points"))]
    labels = _items(body.get("labels"), "labels")
    if len(points) != len(labels):
        raise UserError(f"points has {len(points)} entries, but labels has {len(labels)}: each point needs a label")
    if len(points) > MOST_POINTS:
        raise UserError(f"the request has {len(points)} points, at most {MOST_POINTS} are allowed: start a new mask")
    for label in labels:
        if isinstance(label, bool) or label not in (0, 1):
            raise UserError(f"labels must be 1 on the object or 0 beside it, but one is {label!r:.40}")
    box, previous, generation = body.get("box"), body.get("previous"), body.get("generation", 0)
    if previous is not None and not isinstance(previous, str):
        raise UserError(f"previous must be a handle or null, but is {previous!r:.40}")
    if isinstance(generation, bool) or not isinstance(generation, int):
        raise UserError(f"generation must be an integer, but is {generation!r:.40}")
    hover = body.get("hover", False)
    if not isinstance(hover, bool):
        raise UserError(f"hover must be true or false, but is {hover!r:.40}")
    corners = None if box is None else _numbers(box, "box", 4)
    if not points and corners is None and previous is None:
        raise UserError("there is no prompt: give points with labels, or a box")
    return PromptRequest(
        annotator=annotator,
        points=tuple((x, y) for x, y in points),
        labels=tuple(int(label) for label in labels),
        box=None if corners is None else (corners[0], corners[1], corners[2], corners[3]),
        previous=previous,
        generation=generation,
        is_hover=hover,
    )


def _items(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise UserError(f"{name} must be a list, but is {value!r:.40}")
    return list(value)


def _numbers(value: Any, name: str, count: int) -> list[float]:
    items = _items(value, name)
    numbers = [item for item in items if isinstance(item, int | float) and not isinstance(item, bool)]
    if len(items) != count or len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise UserError(f"{name} must be {count} finite numbers, but is {value!r:.60}")
    return [float(number) for number in numbers]
