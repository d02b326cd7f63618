"""How photos are handed out to annotators."""

import enum

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
    """Photos with masks to be redone, or without a verdict that another person made."""


@config_class("queue")
class QueueConfig:
    """How photos are handed out."""

    mode: QueueMode = QueueMode.MANUAL
    """What people do."""
    order: QueueOrder = QueueOrder.LISTED
    """In which order."""
    seed: Seed = 0
    """Of the order RANDOM."""
