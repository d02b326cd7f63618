"""Learning rates by pattern: a multiplier of the schedule's rate for the parameters that a pattern matches."""

from collections.abc import Iterable, Sequence

from samjax.core.errors import UserError
from samjax.core.tree import find_names

Multipliers = Sequence[tuple[str, float]]
"""Pairs of a pattern over parameter paths and what it multiplies the learning rate by; the first match decides."""


def parse_rates(rates: Sequence[str]) -> Multipliers:
    """Return the multipliers that a user writes as `image_encoder/**=0.1`.

    Raises:
      UserError: one is not written so, or not above 0.
    """
    return tuple(_parse(rate) for rate in rates)


def _parse(rate: str) -> tuple[str, float]:
    pattern, separator, text = rate.rpartition("=")
    try:
        multiplier = float(text)
    except ValueError:
        separator, multiplier = "", 0.0
    if not pattern or not separator:
        raise UserError(f"optim.rates: {rate!r} is not a pattern and a number, such as 'image_encoder/**=0.1'")
    if not 0 < multiplier < float("inf"):
        raise UserError(
            f"optim.rates: {rate!r} multiplies the learning rate by {text}; give a finite number above 0, and freeze "
            "parameters with --trainable"
        )
    return pattern, multiplier


def check_rates(rates: Sequence[str], names: Iterable[str]) -> None:
    """Refuse a pattern that matches none of the trainable parameters `names`.

    Raises:
      UserError: one does not.
    """
    names = list(names)
    for pattern, _ in parse_rates(rates):
        find_names(pattern, names, option="optim.rates")
