"""How many of a photo's prompts are answered together."""

from collections.abc import Sequence
from typing import TypeVar

from samjax.core.sizes import power_of_two

AT_ONCE = 16
"""Prompts of a photo that are answered together: three masks each at the photo's size are 160 MB of one of SA-1B."""
_FEWEST = 4

T = TypeVar("T")


def pad_group(prompts: Sequence[T]) -> list[T]:
    """Return up to `AT_ONCE` prompts, the first repeated up to 4, 8 or 16: a program is compiled for each number."""
    wanted = max(_FEWEST, power_of_two(len(prompts)))
    return [*prompts, *[prompts[0]] * (wanted - len(prompts))]
