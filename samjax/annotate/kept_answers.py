"""The latest answers to each annotator, in float32: what a next click refines, and what is saved."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from samjax.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The k masks that answered a request, by descending predicted IoU, as the decoder gave them."""

    photo_id: int
    logits: Float32[np.ndarray, "k low_h low_w"]
    iou: Float32[np.ndarray, "k"]


class KeptAnswers:
    """Answers by handle. Threads may share it.

    Of each annotator the `clicks` answers used last are kept, and `hovers` more to previews: moving the mouse drops no
    click. Of more than `annotators` annotators those that were idle for longest lose theirs. At 256 x 256 logits an
    answer takes 0.26 MB per mask.
    """

    def __init__(self, *, clicks: int = 64, hovers: int = 4, annotators: int = 32):
        self._clicks, self._hovers, self._annotators = clicks, hovers, annotators
        self._start = secrets.token_hex(4)  # a handle from before a restart must not name another mask
        self._number = 0
        self._of: OrderedDict[str, tuple[OrderedDict[int, Answer], OrderedDict[int, Answer]]] = OrderedDict()
        self._owner: dict[int, str] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._owner)

    def add(self, annotator: str, answer: Answer, *, is_hover: bool) -> list[str]:
        """Keep an answer, and return the handle of each of its masks."""
        with self._lock:
            self._number += 1
            clicks, hovers = self._of.setdefault(annotator, (OrderedDict(), OrderedDict()))
            self._of.move_to_end(annotator)
            (hovers if is_hover else clicks)[self._number] = answer
            self._owner[self._number] = annotator
            self._trim(clicks, self._clicks)
            self._trim(hovers, self._hovers)
            while len(self._of) > self._annotators:
                _, idle = self._of.popitem(last=False)
                for answers in idle:
                    self._trim(answers, 0)
            return [f"{self._start}.{self._number}.{k}" for k in range(len(answer.iou))]

    def find(self, handle: str, *, photo_id: int) -> tuple[Answer, int]:
        """Return the answer that a handle names, and the place of its mask in there. It counts as used now.

        Raises:
          UserError: there is no such handle; or it is of another photo, or from before a restart; or it is gone.
        """
        start, number, k = _parts(handle)
        if start != self._start:
            raise UserError(f"handle {handle} is from before the server was started again: click again")
        with self._lock:
            annotator = self._owner.get(number)
            if annotator is None:
                raise UserError(
                    f"handle {handle} is gone: only the last {self._clicks} answers of an annotator are kept; "
                    "click again"
                )
            clicks, hovers = self._of[annotator]
            self._of.move_to_end(annotator)
            answer = clicks[number] if number in clicks else hovers.pop(number)
            clicks[number] = answer  # a preview that is used is one no longer
            clicks.move_to_end(number)
            self._trim(clicks, self._clicks)
        if answer.photo_id != photo_id:
            raise UserError(f"handle {handle} is of photo {answer.photo_id}, not of photo {photo_id}: click again")
        if k >= len(answer.iou):
            raise UserError(f"handle {handle} names no mask: the answer has {len(answer.iou)}; click again")
        return answer, k

    def _trim(self, answers: OrderedDict[int, Answer], most: int) -> None:
        while len(answers) > most:
            number, _ = answers.popitem(last=False)
            del self._owner[number]


def _parts(handle: str) -> tuple[str, int, int]:
    start, _, rest = handle.partition(".")
    numbers = rest.split(".")
    if len(numbers) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 16 for part in numbers):
        raise UserError(f"{handle!r:.60} is no handle of a candidate: click again")
    return start, int(numbers[0]), int(numbers[1])
