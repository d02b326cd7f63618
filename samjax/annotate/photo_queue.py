"""Which photo an annotator gets next."""

import hashlib
import heapq
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

from samjax.annotate.annotation_folder import AnnotationFolder
from samjax.annotate.event_log import Act
from samjax.annotate.folder_progress import PhotoProgress
from samjax.annotate.leases import Lease, Leases
from samjax.annotate.mask_checks import check_annotator
from samjax.annotate.proposal import ProposalState
from samjax.annotate.queue_config import QueueConfig, QueueMode, QueueOrder
from samjax.annotate.saved_mask import MaskVerdict
from samjax.core.errors import UserError
from samjax.core.text import printable

log = logging.getLogger(__name__)


class PhotoQueue:
    """Hands out photos, each to one annotator at a time. Safe to use from several threads.

        queue = PhotoQueue(folder, Leases(folder.events, existing=folder.progress.leases), QueueConfig())
        lease = queue.next("ann")

    A choice looks at every photo: some 20 ms for ten thousand.
    """

    def __init__(self, folder: AnnotationFolder, leases: Leases, config: QueueConfig):
        self.config, self.leases = config, leases
        self._folder = folder
        self._key = _keys(folder, config)
        self.unreadable: dict[int, str] = {}
        """By photo, why it was passed over."""

    def next(self, annotator: str, *, skip: int | None = None) -> Lease | None:
        """Lease the next photo to an annotator, None if none is left.

        An annotator who has a photo, and does not skip it, gets that one again with a new lease: the page was loaded
        again. A photo that cannot be read is told and passed over. In the mode PREFILL its open proposals become masks.

        Args:
          skip: the photo that this annotator passes on; they do not get it again until the server's next start.

        Raises:
          NotSavedError: the disk is full or fails.
        """
        check_annotator(annotator)
        if skip is not None:
            self._pass_on(annotator, skip)
        lease = self._again(annotator) or self._another(annotator)
        if lease is not None and self.config.mode is QueueMode.PREFILL:
            with self._folder.events.lock:
                proposals = self._folder.proposals(lease.photo)
                still_open = {one.number: one.revision for one in proposals if one.state is ProposalState.OPEN}
                self._folder.accept(lease.photo, still_open, annotator=annotator)
        return lease

    def ahead(self, annotator: str, count: int = 2) -> list[int]:
        """Return the photos that `next` is likely to give this annotator after the one they have."""
        with self._folder.events.lock:
            return self._first(annotator, count)

    def finish(self, photo: int, *, lease: int) -> None:
        """Take a photo out of the queue: the annotator who has it says that it is done.

        In the mode VERIFY the photo stays for others if it has masks without a verdict, or to be redone. It comes back
        to this annotator when others have made, changed or sent back a mask.

        Raises:
          LostLeaseError: the lease is not the photo's current one.
          NotSavedError: the disk is full or fails.
        """
        with self._folder.events.lock:
            annotator = self.leases.renew(photo, lease).annotator
            if self.config.mode is QueueMode.VERIFY:
                self._folder.events.record(Act.SKIP, photo=photo, annotator=annotator, judged=True)
            else:
                self._folder.finish(photo, annotator=annotator)
            self.leases.release(photo, lease)

    def skip(self, photo: int, *, lease: int) -> None:
        """Pass a photo on to others; this annotator does not get it again until the server's next start.

        Raises:
          LostLeaseError: the lease is not the photo's current one.
          NotSavedError: the disk is full or fails.
        """
        with self._folder.events.lock:
            self._pass_on(self.leases.renew(photo, lease).annotator, photo)

    def back(self, annotator: str) -> Lease | None:
        """Lease the photo that the annotator had before; None if there is none, or others have all of those."""
        with self._folder.events.lock:
            trail = self._folder.progress.trails.get(annotator, [])
            current = self.leases.of_annotator(annotator)
            place = trail.index(current.photo) if current and current.photo in trail else len(trail)
            before = [photo for photo in reversed(trail[:place]) if photo in self._folder.photos]
        for photo in before:
            if self._is_readable(photo) and (lease := self.leases.take(photo, annotator, is_new=False)):
                return lease
        return None

    def left(self, annotator: str) -> int:
        """Return how many photos the queue has for this annotator, leased ones excluded."""
        with self._folder.events.lock:
            return sum(1 for _ in self._candidates(annotator))

    def _pass_on(self, annotator: str, photo: int) -> None:
        self._folder.photos[photo]
        with self._folder.events.lock:
            self._folder.events.record(Act.SKIP, photo=photo, annotator=annotator)
            lease = self.leases.of_annotator(annotator)
            if lease is not None and lease.photo == photo:
                self.leases.release(photo, lease.number)

    def _again(self, annotator: str) -> Lease | None:
        """Lease the annotator's photo again."""
        with self._folder.events.lock:
            lease = self.leases.of_annotator(annotator)
            if lease is None or lease.photo not in self._folder.photos:
                return None
            return self.leases.take(lease.photo, annotator, is_new=False)

    def _another(self, annotator: str) -> Lease | None:
        while True:
            with self._folder.events.lock:
                first = self._first(annotator, 1)
            if not first:
                return None
            (photo,) = first
            if not self._is_readable(photo):  # without the lock: it may have to be encoded
                continue
            with self._folder.events.lock:
                if lease := self._again(annotator):  # the same request, sent twice, was answered meanwhile
                    return lease
                if photo in self._candidates(annotator) and (lease := self.leases.take(photo, annotator)):
                    return lease

    def _is_readable(self, photo: int) -> bool:
        try:
            self._folder.jpeg(photo)
            self._folder.masks(photo)
        except UserError as error:
            self.unreadable[photo] = printable(str(error))
            log.warning("photo %d is passed over: %s", photo, self.unreadable[photo])
            return False
        return True

    def _first(self, annotator: str, count: int) -> list[int]:
        candidates = self._candidates(annotator)
        if self._key is None:
            return list(itertools.islice(candidates, count))
        return heapq.nsmallest(count, candidates, key=self._key)

    def _candidates(self, annotator: str) -> Iterator[int]:
        """Yield the free photos that need this annotator, in listed order."""
        progress = self._folder.progress
        skips = progress.skips.get(annotator, set())
        for id in self._folder.photos:
            is_free = id not in self.unreadable and id not in skips and self.leases.of_photo(id) is None
            if is_free and _needs(progress.photo(id), annotator, self.config.mode):
                yield id


def _needs(photo: PhotoProgress, annotator: str, mode: QueueMode) -> bool:
    """Return whether a photo needs this annotator."""
    if mode is QueueMode.VERIFY:
        return annotator not in photo.judges and any(
            mask.verdict is MaskVerdict.REDO or (mask.verdict is None and mask.annotator != annotator)
            for mask in photo.masks.values()
        )
    if mode is QueueMode.REVIEW and not photo.open_proposals:
        return False
    return not photo.is_done


def _keys(folder: AnnotationFolder, config: QueueConfig) -> Callable[[int], Any] | None:
    """Return the sort key of an order, None for the order in which photos are listed."""
    photo = folder.progress.photo
    match config.order:
        case QueueOrder.LISTED:
            return None
        case QueueOrder.RANDOM:
            return lambda id: hashlib.sha256(f"{config.seed}\0{id}".encode()).digest()
        case QueueOrder.LEAST_CERTAIN:
            return lambda id: math.inf if (certainty := photo(id).certainty) is None else certainty
        case QueueOrder.FEWEST_MASKS:
            return lambda id: len(photo(id).masks)
