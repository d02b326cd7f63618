"""Who works on which photo: leases that end by themselves."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from samjax.annotate.event_log import Act, Event, EventLog
from samjax.annotate.refusals import LostLeaseError

LEASE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A photo that one annotator works on."""

    number: int
    """Rises with each lease: the number of the event that gave it."""
    photo: int
    annotator: str
    until: float
    """When it ends unless it is renewed, on the clock of `Leases`."""


class Leases:
    """Leases of photos: at most one for each photo, and at most one for each annotator.

    They live in memory; events say who got which photo and when it was free again, so that a server that starts again
    goes on with the leases that there were, each for a whole term. Safe to use from several threads.
    """

    def __init__(
        self,
        events: EventLog,
        *,
        history: Iterable[Event] = (),
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start with the leases that `history`, all events so far, leaves."""
        raise NotImplementedError

    def take(self, photo: int, annotator: str, *, going_back: bool = False) -> Lease | None:
        """Lease a photo, or lease it again with a higher number; None if another annotator has it.

        An earlier lease of the annotator, of another photo, is released.
        """
        raise NotImplementedError

    def renew(self, photo: int, number: int) -> Lease:
        """Lengthen a lease to a whole term from now. One that has ended lives again if nobody took the photo.

        Call it with every act of the annotator on the photo.

        Raises:
          LostLeaseError: it has been released, or given to another.
        """
        raise NotImplementedError

    def release(self, photo: int, number: int) -> None:
        """End a lease. One that has ended already stays so."""
        raise NotImplementedError

    def of_photo(self, photo: int) -> Lease | None:
        """Return the photo's lease that has not ended."""
        raise NotImplementedError

    def of_annotator(self, annotator: str) -> Lease | None:
        """Return the annotator's lease that has not ended."""
        raise NotImplementedError
