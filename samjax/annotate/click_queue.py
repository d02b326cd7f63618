"""One thread for everything that JAX computes, and who is next there.

Two cores decode one prompt at a time: two at once would make both wait. So requests queue, clicks before hovers, and an
annotator who clicks again takes his own older click's place.
"""

import enum
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from samjax.annotate.prompt_request import NewerRequest
from samjax.core.errors import UserError


class Lane(enum.IntEnum):
    """Who goes first: all of one lane before any of the next."""

    CLICK = 0
    """A person waits: clicks, and masks to save."""
    HOVER = 1
    """A preview."""
    BACKGROUND = 2
    """Nobody waits."""


@dataclass(kw_only=True)
class _Job:
    work: Callable[[], Any]
    needs: Hashable | None
    future: Future = field(default_factory=Future)


class ClickQueue:
    """Runs work on a thread of its own, one piece at a time, in the order of its lane and then of its arrival.

    Threads may share it; `close` it at the end.
    """

    def __init__(self, *, name: str = "jax"):
        self._lanes: dict[Lane, dict[Hashable, _Job]] = {lane: {} for lane in Lane}
        self._wake = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(
        self, work: Callable[[], Any], *, lane: Lane, annotator: str | None = None, needs: Hashable | None = None
    ) -> Future:
        """Queue `work` and return the future of its result. A future that is cancelled in time is not run.

        Args:
          annotator: whose request it is. A click takes the place of the same annotator's queued click, and a queued
            hover goes; a hover takes the place of a queued hover alone. Without an annotator nothing is replaced.
          needs: what must be there first: the work waits for `provide(needs)` and holds nobody up.

        Raises (in the future):
          NewerRequest: the same annotator's newer request replaced it.
          UserError: the queue was closed.
        """
        job = _Job(work=work, needs=needs)
        with self._wake:
            if self._is_closed:
                _fail(job, _closing())
                return job.future
            if annotator is None:
                self._lanes[lane][object()] = job
            else:
                lanes = (Lane.CLICK, Lane.HOVER) if lane is Lane.CLICK else (lane,)
                older = [self._lanes[each].get(annotator) for each in lanes]
                if lane is Lane.CLICK:
                    self._lanes[Lane.HOVER].pop(annotator, None)
                self._lanes[lane][annotator] = job  # in a dictionary it keeps the older one's place
                for one in older:
                    if one is not None:
                        _fail(one, NewerRequest())
            self._wake.notify()
        return job.future

    def provide(self, need: Hashable) -> None:
        """Let work go on that waits for `need`."""
        with self._wake:
            for _, job in self._waiting(need):
                job.needs = None
            self._wake.notify()

    def refuse(self, need: Hashable, error: BaseException) -> None:
        """Fail all work that waits for `need`, which will not come."""
        with self._wake:
            for (lane, key), job in self._waiting(need):
                del self._lanes[lane][key]
                _fail(job, error)

    def close(self) -> None:
        """Fail what is queued, and wait for what is under way."""
        with self._wake:
            self._is_closed = True
            for jobs in self._lanes.values():
                for job in jobs.values():
                    _fail(job, _closing())
                jobs.clear()
            self._wake.notify()
        self._thread.join()

    def _waiting(self, need: Hashable) -> list[tuple[tuple[Lane, Hashable], _Job]]:
        return [
            ((lane, key), job) for lane, jobs in self._lanes.items() for key, job in jobs.items() if job.needs == need
        ]

    def _next(self) -> _Job | None:
        """Return the next work that can run, when there is one; None once the queue is closed."""
        with self._wake:
            while not self._is_closed:
                for jobs in self._lanes.values():
                    for key, job in jobs.items():
                        if job.needs is None:
                            return jobs.pop(key)
                self._wake.wait()
        return None

    def _run(self) -> None:
        while (job := self._next()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            try:
                result = job.work()
            except BaseException as error:
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
                del result
            del job  # holds nothing while it waits


def _fail(job: _Job, error: BaseException) -> None:
    """Fail a job that has not begun; one whose caller is gone needs no answer."""
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)


def _closing() -> UserError:
    return UserError("the server is stopping and answers nothing more: start it again")
