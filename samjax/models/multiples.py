"""Sizes of a model that must divide each other."""

from samjax.core.errors import UserError


def check_multiples(*sizes: tuple[str, int, int]) -> None:
    """Refuse a size that is no multiple of another: each of `sizes` is the size's name for users, itself, and its part.

    Raises:
      UserError: one is not.
    """
    for name, whole, part in sizes:
        if whole % part:
            raise UserError(f"{name} is {whole}; it must be a positive multiple of {part}")
