"""The part of a photo that the model sees, and its scale: the whole photo, or a random view.

The paper trains on whole photos (Segment Anything, appendix A). A random view is large-scale jitter as in ViTDet
(Li et al. 2022; Ghiasi et al. 2021): the fitted photo's size times a random factor, then a random window where it is
larger than the frame and zero padding where it is smaller; mirrored or not, and upside down where the world has no
ground.
"""

import dataclasses

import numpy as np

from samjax.data.masks.packing import nearest_positions
from samjax.data.masks.resample import MaskGrid


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """A window of a scaled photo, to sit in the frame's top-left corner. Sizes are (height, width)."""

    photo: tuple[int, int]
    scaled_size: tuple[int, int]
    """The whole photo's size at this view's scale."""
    corner: tuple[int, int]
    """Top and left of the window in the scaled photo."""
    window: tuple[int, int]
    flip: bool = False
    """Whether to mirror the window, left and right."""
    upside_down: bool = False
    """Whether to mirror the window, top and bottom."""

    def grid(self, frame: tuple[int, int]) -> MaskGrid:
        """Return the grid that samples the photo's masks in the same view."""
        (top, left), (height, width) = self.corner, self.window
        return MaskGrid(
            height=self.photo[0],
            rows=nearest_positions(source=self.photo[0], target=self.scaled_size[0])[top : top + height],
            columns=nearest_positions(source=self.photo[1], target=self.scaled_size[1])[left : left + width],
            frame=frame,
            mirrored=self.flip,
            upside_down=self.upside_down,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewRules:
    """How random views are drawn; the defaults are the paper's: the whole photo, unchanged."""

    scale_jitter: tuple[float, float] = (1.0, 1.0)
    flip_probability: float = 0.0
    upside_down_probability: float = 0.0

    def draw(self, rng: np.random.Generator, *, photo: tuple[int, int], frame: tuple[int, int]) -> View:
        """Return the view of a `photo` in `frame`; rules without randomness do not use `rng`."""
        least, most = self.scale_jitter
        factor = least if least == most else float(rng.uniform(least, most))
        scale = factor * min(frame[0] / photo[0], frame[1] / photo[1])
        scaled = (max(int(photo[0] * scale + 0.5), 1), max(int(photo[1] * scale + 0.5), 1))
        window = (min(scaled[0], frame[0]), min(scaled[1], frame[1]))
        spare = (scaled[0] - window[0], scaled[1] - window[1])
        corner = (int(rng.integers(spare[0] + 1)), int(rng.integers(spare[1] + 1))) if any(spare) else (0, 0)
        mirrored = self.flip_probability > 0 and bool(rng.random() < self.flip_probability)
        upside_down = self.upside_down_probability > 0 and bool(rng.random() < self.upside_down_probability)
        return View(
            photo=photo, scaled_size=scaled, corner=corner, window=window, flip=mirrored, upside_down=upside_down
        )


WHOLE = ViewRules()
