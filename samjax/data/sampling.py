"""Which masks of a photo are learnt from (Segment Anything, appendix A: at most 64, none over 90% of the image)."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from samjax.data import rle
from samjax.data.records import Annotation
from samjax.data.transforms import pack_mask, packed_width, resize_mask


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnMasks:
    """The masks drawn, packed, and how many could not be used."""

    packed: UInt8[np.ndarray, "drawn h packed_w"]
    too_large: int
    """Masks of the photo that cover too much of it."""
    too_small: int
    """Masks of the photo that cover too little of it."""
    empty: int
    """Masks met while drawing that have no pixel left at the model's resolution."""


def draw_masks(
    annotations: Sequence[Annotation],
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    fitted: tuple[int, int],
    frame: tuple[int, int],
    max_masks: int,
    max_area_fraction: float,
    min_area_fraction: float = 0.0,
) -> DrawnMasks:
    """Return at most `max_masks` masks of a photo, drawn uniformly without replacement from those that can be used.

    Masks are met in random order and decoded until enough are found, so most of a photo's masks are never decoded;
    leaving out the empty ones on the way keeps the draw uniform over the others.

    Args:
      annotations: the photo's masks, all of which are checked.
      rng: randomness of this draw.
      size: (height, width) of the photo.
      fitted: the photo's (height, width) at the model's resolution.
      frame: the model's (height, width), at least `fitted`.
      max_masks: most masks to return.
      max_area_fraction: share of the photo above which a mask is left out.
      min_area_fraction: share of the photo below which a mask is left out.

    Raises:
      RleError: one of `annotations`, drawn or not, is no mask.
    """
    height, width = size
    candidates: list[Annotation] = []
    too_large = too_small = 0
    for index, annotation in enumerate(annotations):
        try:
            runs = rle.parse_runs(annotation.counts, height=height, width=width)
        except rle.RleError as error:
            raise rle.RleError(f"annotation {index}: {error}") from error
        share = rle.area(runs) / (height * width)
        if share > max_area_fraction:
            too_large += 1
        elif share < min_area_fraction:
            too_small += 1
        else:
            candidates.append(annotation)

    drawn: list[UInt8[np.ndarray, "h packed_w"]] = []
    empty = 0
    for index in rng.permutation(len(candidates)):
        if len(drawn) == max_masks:
            break
        mask = resize_mask(rle.decode(candidates[index].counts, height=height, width=width), size=fitted)
        if mask.any():
            drawn.append(pack_mask(mask, frame=frame))
        else:
            empty += 1
    nothing = np.zeros((0, frame[0], packed_width(frame[1])), np.uint8)
    return DrawnMasks(
        packed=np.stack(drawn) if drawn else nothing,
        too_large=too_large,
        too_small=too_small,
        empty=empty,
    )
