"""Serves an annotation folder and dies by SIGKILL, again and again, at file operations or from outside.

    python killed_server.py PLACE PORT KILLS SEED

The folder, the queue, the routes and the server are those of `samjax annotate`; the model is `SquareModel`. Each start
prints `serving PID`, and the last one, which does not die by itself, `last PID`. Fails if a server ends otherwise.
"""

import os
import random
import sys
from pathlib import Path

import numpy as np
from helpers.annotators import HEIGHT, WIDTH, open_folder
from helpers.killed_child import comes_to_its_end

from samjax.annotate.encoding_ahead import EncodingStatus
from samjax.annotate.leases import Leases
from samjax.annotate.photo_queue import PhotoQueue
from samjax.annotate.prompt_answer import Candidate, Candidates, ExactMask
from samjax.annotate.queue_config import QueueConfig
from samjax.annotate.refusals import InvalidMaskError
from samjax.annotate.routes import make_app
from samjax.annotate.server import ServerConfig, listening, serve
from samjax.annotate.workplace import Workplace
from samjax.data.masks.rle import encode

LEASE_SECONDS = 2.0
_MOST_OPERATIONS = 120
"""Of a server that dies at one of them; a commit is about five."""


class SquareModel:
    """Stands for `PromptedMasks`: a click's mask is a square around it. What it answered is gone with the process."""

    def __init__(self):
        self._answers = {}

    async def predict(self, photo_id, request):
        handle = f"{os.getpid()}-{len(self._answers)}"
        self._answers[handle] = (photo_id, request.points[-1])
        return Candidates(
            candidates=(Candidate(iou=0.9, stability=0.95, handle=handle),),
            logits=np.zeros((1, 4, 4), np.int8),
            valid=(3.0, 4.0),
            generation=request.generation,
            decode_ms=1.0,
        )

    async def exact_mask(self, handle, *, photo_id):
        photo, (x, y) = self._answers.get(handle, (None, (0, 0)))
        if photo != photo_id:
            raise InvalidMaskError("the logits are gone: click again")
        mask = np.zeros((HEIGHT, WIDTH), bool)
        top, left = min(int(y), HEIGHT - 5), min(int(x), WIDTH - 5)
        mask[top : top + 5, left : left + 5] = True
        return ExactMask(runs=encode(mask), iou=0.9, stability=0.95)

    def set_next(self, annotator, photo_ids):
        pass

    def status(self):
        return EncodingStatus(waiting=0, ahead=0, new=0, failures=0, fault=None, is_ahead=True)


def serve_folder(place: Path, port: int, word: str) -> None:
    config = ServerConfig(port=port)
    with listening(config) as listener, open_folder(place) as folder:
        leases = Leases(folder.events, existing=folder.progress.leases, seconds=LEASE_SECONDS)
        model = {"name": "squares", "digest": "0" * 64}
        queue = PhotoQueue(folder, leases, QueueConfig())
        made = Workplace(folder, queue, SquareModel(), model=model, version="0")
        serve(
            lambda: make_app(made),
            config,
            listener,
            on_start=lambda: print(word, os.getpid(), flush=True),
        )


def main(place: str, port: str, kills: str, seed: str) -> None:
    draw = random.Random(int(seed))
    for turn in range(int(kills)):
        die_at = draw.randint(1, _MOST_OPERATIONS) if turn % 2 else 0  # 0: the test kills it
        assert not comes_to_its_end(
            lambda: serve_folder(Path(place), int(port), "serving"),
            operations=[(os, "fsync"), (os, "replace")],
            die_at=die_at,
            after=draw.random() < 0.5,
        )
    assert comes_to_its_end(lambda: serve_folder(Path(place), int(port), "last"), operations=[], die_at=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
