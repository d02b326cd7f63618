"""The canvas of every picture sheet: text in one font, and rows of captioned cells."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from samjax.core.text import printable
from samjax.pictures.colours import BORDER, FAINT, INK, PAPER

GAP = 8
"""Pixels between cells, and around them all."""

_AIR = 4
"""Pixels between a row's text and its pictures."""
_ROOM = 300
"""Most pixels that a text may widen its column to; longer texts are cut at the beginning."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A picture with up to two lines of text above it."""

    picture: UInt8[np.ndarray, "_ _ *colours"]
    """RGB or grey, of any size."""
    caption: str = ""
    detail: str = ""
    """A second line, smaller and fainter."""


class Layout(NamedTuple):
    """Where things are on a sheet, in pixels."""

    lefts: list[int]
    """Of the columns."""
    widths: list[int]
    """Of the columns."""
    headings: int
    """Top of the headings."""
    rows: list[int]
    """Top of each row, which begins with its text."""
    pictures: list[int]
    """Top of the pictures of each row."""
    size: tuple[int, int]
    """(width, height) of the sheet."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A sheet of rows of cells. A column is as wide as its widest picture or text, a row as high as its highest.

    Three pictures of each photo, with a heading over each column:

        rows = [[Cell(picture=photo, caption=name), Cell(picture=masked), Cell(picture=reconstruction)], ...]
        picture = Grid(rows=rows, side=224, headings=("photo", "masked", "reconstruction")).draw()
    """

    rows: Sequence[Sequence[Cell]]
    """Rows may differ in length."""
    side: int | None = None
    """Longest side of each picture, in pixels, to which it is scaled; None leaves pictures as they are."""
    square: bool = False
    """Whether every cell is `side` high and wide whatever its picture, so that the sheet's size tells its rows."""
    title: str = ""
    headings: Sequence[str] = ()
    """A line over each column."""
    notes: Sequence[str] = ()
    """A line over each row, as wide as the sheet."""
    text: int = 14
    """Size of captions, in pixels. Details are smaller, the title is larger."""
    border: bool = False
    """Whether a line runs around each picture."""

    def draw(self) -> UInt8[np.ndarray, "h w 3"]:
        """Return the sheet."""
        layout = self.layout()
        sheet = Image.new("RGB", layout.size, PAPER)
        draw = ImageDraw.Draw(sheet)
        across = layout.size[0] - 2 * GAP
        small, large = self._small, self._large
        _write(draw, (GAP, GAP), self.title, size=large, colour=INK, room=across)
        for left, width, heading in zip(layout.lefts, layout.widths, self.headings, strict=False):
            _write(draw, (left, layout.headings), heading, size=self.text, colour=INK, room=width)
        for r, row in enumerate(self.rows):
            top = layout.rows[r]
            if self.notes:
                _write(draw, (GAP, top), self.notes[r], size=small, colour=FAINT, room=across)
                top += _line(small)
            below = top + _line(self.text) if any(cell.caption for cell in row) else top
            for left, width, cell in zip(layout.lefts, layout.widths, row, strict=False):
                _write(draw, (left, top), cell.caption, size=self.text, colour=INK, room=width)
                _write(draw, (left, below), cell.detail, size=small, colour=FAINT, room=width)
                picture, x, y = self._picture(cell), left, layout.pictures[r]
                sheet.paste(picture, (x, y))
                if self.border:
                    draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=BORDER)
        return np.asarray(sheet)

    def layout(self) -> Layout:
        """Return where the pictures and texts of the sheet are."""
        columns = max(map(len, [*self.rows, self.headings]))
        widths = [max([self._least, *self._widths(column)]) for column in range(columns)]
        lefts = [GAP + sum(widths[:column]) + GAP * column for column in range(columns)]
        headings = top = GAP + (_line(self._large) + GAP if self.title else 0)
        top += _line(self.text) + GAP // 2 if self.headings else 0
        rows, places = [], []
        for row in self.rows:
            rows.append(top)
            top += _line(self._small) if self.notes else 0
            top += _line(self.text) if any(cell.caption for cell in row) else 0
            top += _line(self._small) if any(cell.detail for cell in row) else 0
            top += _AIR if top > rows[-1] else 0
            places.append(top)
            top += max([self._least, *(self._size(cell)[1] for cell in row)]) + GAP
        return Layout(lefts, widths, headings, rows, places, (sum(widths) + GAP * (columns + 1), top))

    @property
    def _small(self) -> int:
        return round(0.9 * self.text)

    @property
    def _large(self) -> int:
        return round(1.25 * self.text)

    @property
    def _least(self) -> int:
        """The least height and width of a cell."""
        return self.side if self.square and self.side is not None else 1

    def _size(self, cell: Cell) -> tuple[int, int]:
        """Return the (width, height) of a cell's picture on the sheet."""
        height, width = cell.picture.shape[:2]
        scale = 1.0 if self.side is None else self.side / max(height, width)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _picture(self, cell: Cell) -> Image.Image:
        image, size = Image.fromarray(cell.picture).convert("RGB"), self._size(cell)
        return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)

    def _widths(self, column: int) -> list[int]:
        """Return the widths of all pictures and texts in a column."""
        cells = [row[column] for row in self.rows if column < len(row)]
        texts = [(cell.caption, self.text) for cell in cells] + [(cell.detail, self._small) for cell in cells]
        texts += [(heading, self.text) for heading in self.headings[column : column + 1]]
        return [
            *(self._size(cell)[0] for cell in cells),
            *(min(_ROOM, _width(_one_line(text), size)) for text, size in texts),
        ]


def text_font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return the font that pictures are labelled in, `size` pixels high."""
    return ImageFont.load_default(size=size)


def _line(size: int) -> int:
    """Return the height of a line of text, in pixels."""
    return round(1.3 * size)


def _width(text: str, size: int) -> int:
    return int(np.ceil(text_font(size).getlength(text)))


def _one_line(text: str) -> str:
    """Return text that can be drawn on one line: file names may hold anything."""
    return " ".join(printable(text).splitlines())


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, *, size: int, colour: tuple[int, int, int], room: int
) -> None:
    """Write a line of text; of one that is wider than `room` pixels the end: names and paths differ there."""
    text = _one_line(text)
    if _width(text, size) > room:
        cut = bisect.bisect_left(range(len(text)), True, key=lambda k: _width(f"...{text[k:]}", size) <= room)
        text = f"...{text[cut:]}"
    draw.text(at, text, fill=colour, font=text_font(size))
