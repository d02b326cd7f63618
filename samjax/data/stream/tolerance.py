"""How many bad records a run tolerates: 1%."""

TOLERATED = 0.01
_JUDGED_OVER = 1_000  # records: fewer say too little about a large set


def too_many(*, bad: int, seen: int, total: int) -> bool:
    """Return whether `bad` of the `seen` records are more than a set of `total` records may hold.

    The share is taken over at least a thousand records, or the whole set if smaller, so that two bad records among the
    first hundred of millions do not stop a run. One bad record is always tolerated.
    """
    return bad > max(1.0, TOLERATED * max(seen, min(_JUDGED_OVER, total)))
