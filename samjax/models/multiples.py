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


def check_frame(name: str, image_size: tuple[int, int], patch: int) -> None:
    """Refuse a frame, called `name` by its user, whose sides are no multiples of the patch.

    Raises:
      UserError: one is not; the sentence gives the nearest that is.
    """
    for side in image_size:
        if side % patch:
            raise UserError(
                f"{name} {image_size} is not a multiple of the patch, {patch}; "
                f"use {max(1, round(side / patch)) * patch} instead of {side}"
            )
