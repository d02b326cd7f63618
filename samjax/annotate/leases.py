"""Who works on which photo: leases that end by themselves."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from samjax.annotate.event_log import Act, EventLog
from samjax.annotate.refusals import LostLeaseError

LEASE_SECONDS = 120.0
"""A page renews its lease every 30 s, and with every act."""


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

        leases = Leases(folder.events, existing=folder.progress.leases)

    They live in memory. Events say who got which photo and when it was free again, so that a server that starts again
    goes on with the leases that there were, each for a whole term. Safe to use from several threads.
    """

    def __init__(
        self,
        events: EventLog,
        *,
        existing: Mapping[int, tuple[int, str]] | None = None,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start with `existing` leases: by photo, the number and the annotator."""
        self._events, self._seconds, self._clock = events, seconds, clock
        self._last: dict[int, Lease] = {}
        """By photo, the last lease unless it was released; it may have ended."""
        self._open: dict[int, Lease] = {}
        """By photo, the lease that no event has ended; its time may be over."""
        until = clock() + seconds
        for photo, (number, annotator) in (existing or {}).items():
            self._keep(Lease(number=number, photo=photo, annotator=annotator, until=until))

    def take(self, photo: int, annotator: str, *, is_new: bool = True) -> Lease | None:
        """Lease a photo, or lease it again with a higher number; None if another annotator has it.

        The annotator's lease of another photo is released before.

        Args:
          is_new: False for a photo that the annotator had before: it keeps its place in what `back` goes through.

        Raises:
          NotSavedError: the disk is full or fails, and the annotator may be left without a lease.
        """
        with self._events.lock:
            self._expire()
            holder = self._open.get(photo)
            if holder is not None and holder.annotator != annotator:
                return None
            earlier = self.of_annotator(annotator)
            if earlier is not None and earlier.photo != photo:
                self.release(earlier.photo, earlier.number)
            details = {} if is_new else {"trail": False}
            event = self._events.record(Act.LEASE, photo=photo, annotator=annotator, **details)
            lease = Lease(number=event.number, photo=photo, annotator=annotator, until=self._clock() + self._seconds)
            self._keep(lease)
            return lease

    def renew(self, photo: int, number: int) -> Lease:
        """Lengthen a lease to a whole term from now. One that has ended lives again if nobody took the photo since.

        Call it with every act of the annotator on the photo that needs the lease.

        Raises:
          LostLeaseError: it has been released, or the photo has been given to another.
        """
        with self._events.lock:
            last = self._last.get(photo)
            if last is None or last.number != number:
                raise LostLeaseError(f"lease {number} of photo {photo} has ended: take the photo again")
            if photo not in self._open:
                other = self.of_annotator(last.annotator)
                if other is not None:
                    raise LostLeaseError(
                        f"lease {number} of photo {photo} has ended: {last.annotator} has another photo"
                    )
                self._events.record(Act.LEASE, photo=photo, annotator=last.annotator, lease=number, trail=False)
            lease = replace(last, until=self._clock() + self._seconds)
            self._keep(lease)
            return lease

    def release(self, photo: int, number: int) -> None:
        """End a lease. One that has ended already stays so.

        Raises:
          NotSavedError: the disk is full or fails.
        """
        with self._events.lock:
            lease = self._last.get(photo)
            if lease is None or lease.number != number:
                return
            if photo in self._open:
                self._events.record(Act.RELEASE, photo=photo, annotator=lease.annotator, lease=number)
            self._open.pop(photo, None)
            del self._last[photo]

    def of_photo(self, photo: int) -> Lease | None:
        """Return the photo's lease that has not ended."""
        with self._events.lock:
            lease = self._open.get(photo)
            return lease if lease is not None and lease.until > self._clock() else None

    def of_annotator(self, annotator: str) -> Lease | None:
        """Return the annotator's lease that has not ended."""
        with self._events.lock:
            now = self._clock()
            return next((one for one in self._open.values() if one.annotator == annotator and one.until > now), None)

    def _keep(self, lease: Lease) -> None:
        self._last[lease.photo] = self._open[lease.photo] = lease

    def _expire(self) -> None:
        """Record which leases have ended by themselves."""
        now = self._clock()
        for lease in [lease for lease in self._open.values() if lease.until <= now]:
            self._events.record(Act.EXPIRE, photo=lease.photo, annotator=lease.annotator, lease=lease.number)
            del self._open[lease.photo]
