"""A simulated annotator for `samjax annotate`: it knows the truth of each photo, and works through the routes alone.

It does what a person does on the page. Proposals that show no object are rejected, and so are all but the best of those
that show the same one. Then the largest object without a mask is clicked in the middle; of the candidates the best one
is taken; and the middle of its largest error is clicked, until the mask is good enough or patience is over. What clicks
did not give is drawn with the brush. Candidates are looked at as the page shows them, by their logits for the screen.
"""

import enum
import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from samjax.annotate.mask_checks import SMALLEST_MASK
from samjax.annotate.prompt_answer import STEPS
from samjax.data.masks import rle
from samjax.eval.protocols.point_to_mask.clicking import mask_iou
from samjax.eval.protocols.point_to_mask.places import central_place, correcting_place

Mask = Bool[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True)
class PhotoTruth:
    """The objects of a photo."""

    objects: Sequence[Mask]
    """Those to annotate, the largest first."""
    small: Sequence[Mask] = ()
    """Those too small to ask for; a proposal that shows one is right."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How the annotator works."""

    enough: float = 0.85
    """IoU with the object from which on a mask is committed."""
    clicks: int = 8
    """Clicks on an object at most."""
    right: float = 0.75
    """IoU with an object from which on a mask shows it: the proposal stays, and the object needs no other mask."""
    brush: bool = True
    """Draw with the brush what clicks did not give; else the best mask that they gave is committed."""


class Verdict(enum.StrEnum):
    """What a mask of the model alone is."""

    RIGHT = "right"
    DOUBLE = "double"
    """Of an object that another mask shows better."""
    WRONG = "wrong"


def judge(masks: Sequence[Mask], objects: Sequence[Mask], *, right: float) -> list[tuple[Verdict, int | None]]:
    """Return of each mask what it is, and the place of the object that it shows, None for a wrong one."""
    found: list[tuple[Verdict, int | None]] = [(Verdict.WRONG, None)] * len(masks)
    if not objects:
        return found
    ious = np.array([[mask_iou(mask, one) for one in objects] for mask in masks]).reshape(-1, len(objects))
    shown: set[int] = set()
    for number in np.argsort(-ious.max(axis=1), kind="stable").tolist():
        place = int(ious[number].argmax())
        if ious[number, place] >= right:
            found[number] = (Verdict.DOUBLE if place in shown else Verdict.RIGHT, place)
            shown.add(place)
    return found


def next_object(objects: Sequence[Mask], present: Sequence[Mask], *, done: Collection[int], right: float) -> int | None:
    """Return the place of the first object that is neither `done` nor shown by a mask that is there, None without."""
    for place, one in enumerate(objects):
        if place not in done and not any(mask_iou(mask, one) >= right for mask in present):
            return place
    return None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The model's answer to clicks, as the page shows it."""

    handles: Sequence[str]
    masks: Sequence[Mask]
    decode_ms: float


def read_answer(content: bytes, *, size: tuple[int, int]) -> Answer:
    """Return the content of an answer of `POST /api/photos/ID/predict` for a photo of `size` (h, w)."""
    length = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + length])
    grids = np.frombuffer(content[4 + length :], np.int8).reshape(-1, header["height"], header["width"])
    places = [(np.arange(side) + 0.5) * valid / side - 0.5 for side, valid in zip(size, header["valid"], strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    masks = [ndimage.map_coordinates(one / STEPS, grid, order=1, mode="nearest") > 0 for one in grids]
    handles = [one["handle"] for one in header["candidates"]]
    return Answer(handles=handles, masks=masks, decode_ms=header["decode_ms"])


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The best mask that clicks have given so far."""

    iou: float = 0.0
    handle: str | None = None


@dataclass(kw_only=True)
class PhotoWork:
    """What was done on a photo."""

    photo: str
    objects: int
    small: int
    earlier: int = 0
    """Masks that were there already: the photo was begun before, and what that took is not known."""
    proposals: dict[str, int] = field(default_factory=dict)
    """By verdict."""
    masks: list[dict[str, Any]] = field(default_factory=list)
    """Of each mask that was made: its `source`, `clicks`, and `iou` with the object as saved."""
    without: int = 0
    """Objects for which clicks gave no mask at all, and no brush was taken."""
    answer_ms: list[float] = field(default_factory=list)
    """Of each click, from the request to the last byte of the answer."""
    decode_ms: list[float] = field(default_factory=list)
    """Of it, what the model took."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


class Annotator:
    """Works on the photos of a server.

    Args:
      page: a client of the server, with the annotator's name in its headers: httpx2's, or starlette's for tests.
      truth: returns the objects of the photo of a name.
      habits: see `Habits`.
    """

    def __init__(self, page: Any, truth: Callable[[str], PhotoTruth], habits: Habits):
        self._page, self._truth, self.habits = page, truth, habits

    def work(self) -> Iterator[PhotoWork]:
        """Yield what was done on each photo, when it is done, until the queue has none left."""
        while (opened := self._ask("POST", "/api/next", {})) is not None:
            yield self._annotate(opened)

    def _annotate(self, opened: Mapping[str, Any]) -> PhotoWork:
        photo, lease = opened["photo"], {"lease": opened["lease"]["number"]}
        path, truth = f"/api/photos/{photo['id']}", self._truth(photo["name"])
        self._page.get(f"{path}.jpg").raise_for_status()
        work = PhotoWork(photo=photo["name"], objects=len(truth.objects), small=len(truth.small))
        kept = self._reject(opened["proposals"], truth, path, lease, work)
        earlier = [_decode(mask["runs"]) for mask in opened["masks"] if mask["source"] != "proposal"]
        work.earlier = len(earlier)
        present, done = [*kept, *earlier], set[int]()
        while (place := next_object(truth.objects, present, done=done, right=self.habits.right)) is not None:
            done.add(place)
            self._ask("POST", f"{path}/alive", lease)
            present += self._make(truth.objects[place], path, lease, work)
        self._ask("POST", f"{path}/done", lease)
        return work

    def _reject(
        self, proposals: Sequence[Mapping[str, Any]], truth: PhotoTruth, path: str, lease: dict, work: PhotoWork
    ) -> list[Mask]:
        """Reject what is no object, or shown twice, and return the masks that stay."""
        masks = [_decode(one["runs"]) for one in proposals]
        verdicts = [verdict for verdict, _ in judge(masks, [*truth.objects, *truth.small], right=self.habits.right)]
        for one, verdict in zip(proposals, verdicts, strict=True):
            if verdict is not Verdict.RIGHT and one["state"] != "rejected":
                body = {"state": "rejected", "revision": one["revision"], **lease}
                self._ask("PUT", f"{path}/proposals/{one['number']}", body)
        work.proposals = {verdict.value: verdicts.count(verdict) for verdict in Verdict}
        return [mask for mask, verdict in zip(masks, verdicts, strict=True) if verdict is Verdict.RIGHT]

    def _make(self, truth: Mask, path: str, lease: dict, work: PhotoWork) -> list[Mask]:
        """Make the mask of an object and return it as it was saved; none where nothing came of it."""
        start = time.perf_counter()
        points: list[list[int]] = []
        labels: list[int] = []
        handle, predicted, best = None, None, Attempt()
        while best.iou < self.habits.enough and len(points) < self.habits.clicks:
            place = central_place(truth) if predicted is None else correcting_place(predicted=predicted, truth=truth)
            points.append([place.x, place.y])
            labels.append(int(place.foreground))
            answer = self._click(path, points, labels, handle, work, size=truth.shape)
            ious = [mask_iou(mask, truth) for mask in answer.masks]
            chosen = int(np.argmax(ious))
            handle, predicted = answer.handles[chosen], answer.masks[chosen]
            if ious[chosen] > best.iou and np.count_nonzero(predicted) > 2 * SMALLEST_MASK:
                best = Attempt(iou=ious[chosen], handle=handle)
        if best.iou >= self.habits.enough or not self.habits.brush:
            content: dict[str, Any] = {"handle": best.handle, "source": "clicks"}
        else:
            content = {"runs": rle.encode(truth), "source": "brush"}
        if content.get("handle", "") is None:
            work.without += 1
            return []
        seconds = time.perf_counter() - start
        content |= {"prompts": {"points": points, "labels": labels, "box": None}, "clicks": len(points), **lease}
        content |= {"seconds": seconds, "active_seconds": seconds}
        saved = _decode(self._ask("PUT", f"{path}/masks/{uuid.uuid4()}", content)["runs"])
        work.masks.append({"source": content["source"], "clicks": len(points), "iou": mask_iou(saved, truth)})
        return [saved]

    def _click(
        self, path: str, points: list, labels: list, previous: str | None, work: PhotoWork, *, size: tuple
    ) -> Answer:
        body = {"points": points, "labels": labels, "box": None, "previous": previous}
        start = time.perf_counter()
        response = self._page.post(f"{path}/predict", json={**body, "generation": len(points), "hover": False})
        work.answer_ms.append(1000 * (time.perf_counter() - start))
        answer = read_answer(_checked(response).content, size=size)
        work.decode_ms.append(answer.decode_ms)
        return answer

    def _ask(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON that the server answers, None where it answers with nothing."""
        response = _checked(self._page.request(method, path, json=body))
        return None if response.status_code == 204 else response.json()


def _checked(response: Any) -> Any:
    if response.status_code not in (200, 204):
        raise RuntimeError(f"{response.request.method} {response.request.url}: {response.status_code} {response.text}")
    return response


def _decode(runs: Mapping[str, Any]) -> Mask:
    height, width = runs["size"]
    return rle.decode(runs["counts"], height=height, width=width)
