"""Shapes laid on a photo from front to back, with light, shadow and texture.

Front to back, because what hides a shape is then known when it is laid: masks are what is visible, every pixel is
painted once, and a shape that would hardly show is left out altogether.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from samjax.data.synthetic.shapes import Shape
from samjax.data.synthetic.textures import draw_texture

_LEAST_PIXELS = 12
_LEAST_SHARE = 3e-5  # of the photo: a hundred pixels of SA-1B's photos, which drop what is smaller
_LEAST_VISIBLE = 0.35  # share of a thing
_MOST_OF_PARENT = 0.85  # a part that covers more of its parent is its parent's double
_SHADOW = 0.45
_SHADOW_SCALE = 8  # shadows are kept at an eighth of the photo's resolution


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownMask:
    """What shows of a shape."""

    runs: Int64[np.ndarray, "runs"]
    """Column by column, alternately outside and inside, outside first."""
    area: int
    box: tuple[int, int, int, int]
    """(y_min, x_min, y_max, x_max), inclusive."""
    point: tuple[int, int]
    """(x, y) of a pixel inside."""
    parent: int | None
    """Index of the mask that this one is a part of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a shape is laid: its outline times `matrix`, plus `centre`, in pixels."""

    matrix: Float[np.ndarray, "2 2"]
    centre: Float[np.ndarray, "2"]

    def apply(self, outline: Float[np.ndarray, "corners 2"]) -> Float[np.ndarray, "corners 2"]:
        """Return the outline in pixels."""
        return outline @ self.matrix.T + self.centre


@dataclasses.dataclass(frozen=True, kw_only=True)
class Region:
    """Some pixels of a photo: those of a crop whose corner is at (y, x)."""

    y: int
    x: int
    mask: Bool[np.ndarray, "h w"]

    @property
    def rows(self) -> slice:
        """Where the crop lies in the photo, down."""
        return slice(self.y, self.y + self.mask.shape[0])

    @property
    def columns(self) -> slice:
        """Where the crop lies in the photo, across."""
        return slice(self.x, self.x + self.mask.shape[1])

    def only(self, allowed: Bool[np.ndarray, "h w"]) -> "Region":
        """Return the pixels that `allowed`, of the same crop, has too."""
        return dataclasses.replace(self, mask=self.mask & allowed)

    def shrunk(self) -> "Region":
        """Return the same pixels, of which there is one at least, in the smallest crop."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        top, left = int(rows[0]), int(columns[0])
        return Region(y=self.y + top, x=self.x + left, mask=self.mask[top : rows[-1] + 1, left : columns[-1] + 1])


def least_pixels(size: tuple[int, int]) -> int:
    """Return the pixels of the smallest mask in a photo of `size` = (h, w)."""
    return max(_LEAST_PIXELS, int(_LEAST_SHARE * size[0] * size[1]))


class Scene:
    """A photo under way: what is laid first is in front."""

    def __init__(self, rng: np.random.Generator, *, size: tuple[int, int]):
        self.masks: list[ShownMask] = []
        """Of what was laid so far; a parent comes before its parts."""
        self._rng = rng
        self._least = least_pixels(size)
        self._planes: UInt8[np.ndarray, "3 h w"] = np.zeros((3, *size), np.uint8)
        self._free: Bool[np.ndarray, "h w"] = np.ones(size, bool)
        self._light = np.array([rng.uniform(-1, 1), -1.0]) * rng.uniform(0.15, 0.3)  # comes from above
        self._lit = Image.new("L", (-(-size[1] // _SHADOW_SCALE), -(-size[0] // _SHADOW_SCALE)), 255)

    def add(self, shape: Shape, place: Place) -> None:
        """Lay a thing behind all others so far, unless they hide most of it."""
        corners = place.apply(shape.outline)
        drawn = _fill_outline(corners, y=0, x=0, size=self._free.shape)
        if drawn is None:
            return
        visible = drawn.only(self._free[drawn.rows, drawn.columns])
        if np.count_nonzero(visible.mask) < max(self._least, _LEAST_VISIBLE * np.count_nonzero(drawn.mask)):
            return
        self._lay(shape, place, visible.shrunk(), parent=None, boxes=[])
        self._cast_shadow(corners)

    def add_behind(self, shape: Shape, place: Place) -> None:
        """Lay a backdrop behind everything so far, however little of it shows."""
        drawn = _fill_outline(place.apply(shape.outline), y=0, x=0, size=self._free.shape)
        if drawn is None:
            return
        visible = drawn.only(self._free[drawn.rows, drawn.columns])
        if visible.mask.any():
            self._lay(shape, place, visible.shrunk(), parent=None, boxes=[])

    def image(self) -> Image.Image:
        """Return the photo."""
        return Image.merge("RGB", [Image.fromarray(plane) for plane in self._planes])

    def _lay(
        self, shape: Shape, place: Place, region: Region, *, parent: int | None, boxes: list[Float[np.ndarray, "2 2"]]
    ) -> None:
        """Take `region` for `shape`: its parts first, which are in front of it, then what is left of it.

        `boxes` are the (low, high) corners of the shapes that this one is a part of: light falls on them as well.
        """
        pixels = np.count_nonzero(region.mask)
        index = len(self.masks)
        if pixels >= self._least:
            self.masks.append(_measure(region, size=self._free.shape, parent=parent))
        self._free[region.rows, region.columns] &= ~region.mask
        corners = place.apply(shape.outline)
        boxes = [*boxes, np.stack([corners.min(axis=0), corners.max(axis=0)])]
        left = region.mask.copy()
        for part in shape.parts:
            drawn = _fill_outline(place.apply(part.outline), y=region.y, x=region.x, size=left.shape)
            if drawn is None:
                continue
            rows, columns = (slice(drawn.y - region.y, None), slice(drawn.x - region.x, None))
            under = left[rows, columns][: drawn.mask.shape[0], : drawn.mask.shape[1]]
            shown = drawn.only(under)
            if self._least <= np.count_nonzero(shown.mask) <= _MOST_OF_PARENT * pixels:
                under ^= shown.mask
                self._lay(part, place, shown.shrunk(), parent=index, boxes=boxes)
        if left.any():
            self._paint(shape, Region(y=region.y, x=region.x, mask=left).shrunk(), boxes=boxes)

    def _paint(self, shape: Shape, region: Region, *, boxes: list[Float[np.ndarray, "2 2"]]) -> None:
        """Paint `region` with the shape's two colours, in the light that falls there."""
        size = region.mask.shape
        mixture = draw_texture(self._rng, shape.texture, size=size)
        light = self._light_on(region, boxes)
        for plane, first, second in zip(self._planes, shape.colour, shape.second_colour, strict=True):
            value = mixture * np.float32(second - first)
            value += np.float32(first)
            value *= light
            np.minimum(value, 255, out=value)
            np.copyto(plane[region.rows, region.columns], value, where=region.mask, casting="unsafe")

    def _light_on(self, region: Region, boxes: list[Float[np.ndarray, "2 2"]]) -> Float32[np.ndarray, "h w"]:
        """Return the light on each pixel, 1 on average: brighter on the side it comes from, less where shadows fall."""
        height, width = region.mask.shape
        down, across = np.ones(height), np.zeros(width)
        for weight, (low, high) in zip((1.0, 0.5, 0.25), reversed(boxes), strict=False):
            centre, half = (low + high) / 2, np.maximum((high - low) / 2, 1)
            x, y = (
                (np.arange(width) + region.x - centre[0]) / half[0],
                (np.arange(height) + region.y - centre[1]) / half[1],
            )
            across += weight * (self._light[0] * x - 0.12 * x**2)
            down += weight * (self._light[1] * y - 0.12 * y**2)
        light = np.maximum(down.astype(np.float32)[:, None] + across.astype(np.float32), np.float32(0.15))
        box = (region.x, region.y, region.x + width, region.y + height)
        left, top, right, bottom = (side / _SHADOW_SCALE for side in box)
        shadows = self._lit.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
        light *= np.asarray(shadows)
        light *= np.float32(1 / 255)
        return light

    def _cast_shadow(self, corners: Float[np.ndarray, "corners 2"]) -> None:
        """Darken what lies behind a thing, on the side away from the light."""
        corners = corners / _SHADOW_SCALE
        extent = float(np.sqrt(np.prod(np.ptp(corners, axis=0))))
        corners = corners - self._light * 0.4 * extent
        blur = 0.06 * extent + 0.3
        margin = 3 * blur
        low = np.floor(np.maximum(corners.min(axis=0) - margin, 0)).astype(int)
        high = np.ceil(np.minimum(corners.max(axis=0) + margin, self._lit.size)).astype(int)
        if (high <= low).any():
            return
        stamp = Image.new("L", (int(high[0] - low[0]), int(high[1] - low[1])), 255)
        outline = [(float(x), float(y)) for x, y in corners - low]
        ImageDraw.Draw(stamp).polygon(outline, fill=round(255 * (1 - _SHADOW)))
        stamp = stamp.filter(ImageFilter.GaussianBlur(blur))
        box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        self._lit.paste(ImageChops.multiply(self._lit.crop(box), stamp), box)


def _fill_outline(corners: Float[np.ndarray, "corners 2"], *, y: int, x: int, size: tuple[int, ...]) -> Region | None:
    """Return the pixels inside an outline that lie in the crop of `size` = (h, w) at (y, x); None if there are none."""
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    left, top = max(int(low[0]), x), max(int(low[1]), y)
    width, height = min(int(high[0]), x + size[1]) - left, min(int(high[1]), y + size[0]) - top
    if width < 1 or height < 1:
        return None
    canvas = Image.new("L", (width, height), 0)
    ImageDraw.Draw(canvas).polygon([(float(px), float(py)) for px, py in corners - [left, top]], fill=1)
    return Region(y=top, x=left, mask=np.asarray(canvas).astype(bool))


def _measure(region: Region, *, size: tuple[int, ...], parent: int | None) -> ShownMask:
    """Return the mask of `region` in a photo of `size` = (h, w)."""
    height, width = size
    rows, columns = region.mask.shape
    padded = np.zeros((columns, rows + 2), bool)
    padded[:, 1:-1] = region.mask.T
    column, row = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), rows + 1)
    borders = (region.x + column) * height + region.y + row
    starts, ends = borders[::2], borders[1::2]
    joined = np.flatnonzero(ends[:-1] == starts[1:])  # from the foot of a column to the head of the next
    starts, ends = np.delete(starts, joined + 1), np.delete(ends, joined)
    borders = np.stack([starts, ends], axis=-1).ravel()
    rest = np.array([] if borders[-1] == height * width else [height * width], np.int64)
    longest = int(np.argmax(ends - starts))
    x, y = divmod(int(starts[longest] + ends[longest]) // 2, height)
    return ShownMask(
        runs=np.diff(borders, prepend=0, append=rest),
        area=int(np.sum(ends - starts)),
        box=(region.y, region.x, region.y + rows - 1, region.x + columns - 1),
        point=(x, y),
        parent=parent,
    )
