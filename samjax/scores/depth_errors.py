"""Errors of predicted depth, as NYU Depth v2 and KITTI are scored (Eigen et al. 2014).

```python
errors = [depth_errors(depth, truth, NYU) for depth, truth in photos]
mean_errors(errors).abs_rel
```
A model of relative depth predicts inverse depth up to scale and shift: `aligned_depth` finds these by the truth first.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Float64

from samjax.core.errors import UserError


class DepthCrop(enum.Enum):
    """Which part of a photo is scored."""

    WHOLE = "whole"
    """All of it."""
    EIGEN_NYU = "eigen-nyu"
    """Eigen et al.'s of NYU Depth v2: rows 45 to 470 and columns 41 to 600 of 480 x 640 pixels."""
    EIGEN_KITTI = "eigen-kitti"
    """Eigen et al.'s of KITTI, in shares of the sides."""
    GARG = "garg"
    """Garg et al.'s of KITTI (2016), in shares of the sides: lower than Eigen's."""


_NYU_SIZE = (480, 640)
_SHARES = {
    DepthCrop.WHOLE: (0.0, 1.0, 0.0, 1.0),
    DepthCrop.EIGEN_KITTI: (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    DepthCrop.GARG: (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}
"""First and last row and column, the last excluded."""


@dataclass(frozen=True, kw_only=True)
class DepthProtocol:
    """Which pixels of a photo are scored, and within which bounds."""

    farthest: float
    """Metres at which predictions are cut off, and from which on the truth is not scored."""
    nearest: float = 1e-3
    """The same of the near end."""
    crop: DepthCrop = DepthCrop.WHOLE
    """Which part of the photo is scored."""

    def mask(self, truth: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """Return which pixels are scored: those of the crop with a truth within the bounds. Unknown ones are 0 or NaN.

        Raises:
          UserError: the crop is of another size.
        """
        height, width = truth.shape
        if self.crop is DepthCrop.EIGEN_NYU:
            if truth.shape != _NYU_SIZE:
                raise UserError(
                    f"a depth map of {height} x {width} pixels cannot be cropped as NYU Depth v2's, which have "
                    f"{_NYU_SIZE[0]} x {_NYU_SIZE[1]}; resize predictions to the truth, not the truth"
                )
            top, bottom, left, right = 45, 471, 41, 601
        else:
            shares = _SHARES[self.crop]
            top, bottom = int(shares[0] * height), int(shares[1] * height)
            left, right = int(shares[2] * width), int(shares[3] * width)
        inside = np.zeros(truth.shape, bool)
        inside[top:bottom, left:right] = True
        return inside & (truth > self.nearest) & (truth < self.farthest)


NYU = DepthProtocol(farthest=10.0, crop=DepthCrop.EIGEN_NYU)
"""NYU Depth v2, indoors."""
KITTI = DepthProtocol(farthest=80.0, crop=DepthCrop.GARG)
"""KITTI, on the road."""


@dataclass(frozen=True, kw_only=True)
class DepthErrors:
    """Errors of a photo, or their means over photos."""

    abs_rel: float
    """Mean of |depth - truth| / truth."""
    rmse: float
    """Root of the mean squared difference, in metres."""
    log10: float
    """Mean difference of the decimal logarithms."""
    delta1: float
    """Share of pixels where the larger of depth and truth is less than 1.25 times the smaller."""
    delta2: float
    """The same with 1.25 squared."""
    delta3: float
    """The same with 1.25 cubed."""


def depth_errors(
    depth: Float[np.ndarray, "h w"], truth: Float[np.ndarray, "h w"], protocol: DepthProtocol
) -> DepthErrors | None:
    """Return the errors of a photo, None where no pixel is scored.

    Args:
      depth: predicted, in metres, of the truth's size; NaN counts as `protocol.nearest`.
      truth: in metres, 0 or NaN where it is unknown.
      protocol: such as `NYU`.
    """
    counted = protocol.mask(truth)
    if not counted.any():
        return None
    true = truth[counted].astype(np.float64)
    found = np.nan_to_num(depth[counted].astype(np.float64), nan=protocol.nearest)
    found = np.clip(found, protocol.nearest, protocol.farthest)
    ratio = np.maximum(found / true, true / found)
    return DepthErrors(
        abs_rel=float(np.mean(np.abs(found - true) / true)),
        rmse=float(np.sqrt(np.mean((found - true) ** 2))),
        log10=float(np.mean(np.abs(np.log10(found) - np.log10(true)))),
        delta1=float(np.mean(ratio < 1.25)),
        delta2=float(np.mean(ratio < 1.25**2)),
        delta3=float(np.mean(ratio < 1.25**3)),
    )


def mean_errors(errors: Sequence[DepthErrors | None]) -> DepthErrors:
    """Return the means over photos, each of which counts alike, as the published figures are; None does not count.

    Raises:
      UserError: there is none.
    """
    errors = [one for one in errors if one is not None]
    if not errors:
        raise UserError("no photo has a pixel whose depth is known and within the protocol's bounds: nothing to score")
    names = [field.name for field in fields(DepthErrors)]
    return DepthErrors(**{name: float(np.mean([getattr(one, name) for one in errors])) for name in names})


def aligned_depth(
    inverse: Float[np.ndarray, "h w"], truth: Float[np.ndarray, "h w"], protocol: DepthProtocol
) -> Float64[np.ndarray, "h w"]:
    """Return the depth, in metres, of inverse depth whose scale and shift are found by the truth.

    They are those with the least squared error of inverse depth over the pixels that the protocol scores (Ranftl et al.
    2020). What is then farther than `protocol.farthest`, or behind the camera, is that far.

    Args:
      inverse: predicted inverse depth up to scale and shift, of the truth's size.
      truth: in metres, 0 or NaN where it is unknown.
      protocol: such as `NYU`.
    """
    counted, values = protocol.mask(truth), inverse.astype(np.float64)
    scale, shift = 0.0, 1 / protocol.farthest
    if counted.any():
        found, true = values[counted], 1 / truth[counted].astype(np.float64)
        spread = np.mean((found - found.mean()) ** 2)
        scale = np.mean((found - found.mean()) * (true - true.mean())) / spread if spread > 0 else 0.0
        shift = true.mean() - scale * found.mean()
    return 1 / np.maximum(scale * values + shift, 1 / protocol.farthest)


def median_aligned_depth(
    inverse: Float[np.ndarray, "h w"], truth: Float[np.ndarray, "h w"], protocol: DepthProtocol
) -> Float64[np.ndarray, "h w"]:
    """Return the depth, in metres, of inverse depth whose scale alone is found by the truth: both have one median.

    The medians are of depth over the pixels that the protocol scores (Zhou et al. 2017). For models whose inverse
    depth has no shift; DPT's has one. What is not above 0 is as far as `protocol.farthest`.

    Args:
      inverse: predicted inverse depth up to scale, of the truth's size.
      truth: in metres, 0 or NaN where it is unknown.
      protocol: such as `NYU`.
    """
    counted, values = protocol.mask(truth), inverse.astype(np.float64)
    depth = np.divide(1.0, values, out=np.full(values.shape, np.inf), where=values > 0)
    middle = float(np.median(depth[counted])) if counted.any() else np.inf
    if not np.isfinite(middle):
        return np.full(values.shape, protocol.farthest)
    return np.minimum(depth * (np.median(truth[counted]) / middle), protocol.farthest)
