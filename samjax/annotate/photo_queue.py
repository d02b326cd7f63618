"""Which photo an annotator gets next."""

import enum
from collections.abc import Iterable

from samjax.annotate.annotation_folder import AnnotationFolder
from samjax.annotate.leases import Lease, Leases
from samjax.core.ranges import Seed, config_class


class QueueOrder(enum.Enum):
    """In which order photos are handed out."""

    LISTED = "listed"
    RANDOM = "random"
    LEAST_CERTAIN = "least-certain"
    """Lowest mean predicted IoU of the photo's proposals first; photos without proposals last."""
    FEWEST_MASKS = "fewest-masks"


class QueueMode(enum.Enum):
    """What people do, and so which photos need them."""

    MANUAL = "manual"
    """Photos that nobody has said are done."""
    PREFILL = "prefill"
    """The same: their proposals are masks already when they are handed out."""
    REVIEW = "review"
    """Photos with proposals that nobody has accepted or rejected, and that are not done."""
    VERIFY = "verify"
    """Photos with masks without a verdict that another person made."""


@config_class("queue")
class QueueConfig:
    """How photos are handed out."""

    mode: QueueMode = QueueMode.MANUAL
    """What people do."""
    order: QueueOrder = QueueOrder.LISTED
    """In which order."""
    seed: Seed = 0
    """Of the order RANDOM."""


class PhotoQueue:
    """Hands out photos, each to one annotator at a time. Safe to use from several threads."""

    def __init__(self, folder: AnnotationFolder, leases: Leases, config: QueueConfig):
        raise NotImplementedError

    def next(self, annotator: str, *, skip: int | None = None) -> Lease | None:
        """Lease the next photo to an annotator, None if none is left.

        An annotator who has a photo, and does not skip it, gets that one again with a new lease: the page was loaded
        again. A photo that cannot be read is told and passed over.

        Args:
          skip: the photo that this annotator passes on; they do not get it again until the server's next start.
        """
        raise NotImplementedError

    def ahead(self, annotator: str, count: int = 2) -> list[int]:
        """Return the photos that `next` is likely to give this annotator after the one they have."""
        raise NotImplementedError

    def done(self, photo: int, *, lease: int) -> None:
        """Take a photo out of the queue: the annotator who has it says that it is done.

        Raises:
          LostLeaseError: the lease is not the photo's current one.
        """
        raise NotImplementedError

    def skip(self, photo: int, *, lease: int) -> None:
        """Pass a photo on to others.

        Raises:
          LostLeaseError: the lease is not the photo's current one.
        """
        raise NotImplementedError

    def back(self, annotator: str) -> Lease | None:
        """Lease the photo that the annotator had before; None if there is none, or others have all of those."""
        raise NotImplementedError

    def left(self, annotator: str) -> int:
        """Return how many photos the queue has for this annotator, leased ones excluded."""
        raise NotImplementedError
