import numpy as np
import pytest

from samjax.pictures.canvas import GAP, Cell, Grid
from samjax.pictures.colours import BORDER, PAPER


def plain(height: int, width: int, shade: int = 90) -> np.ndarray:
    return np.full((height, width, 3), shade, np.uint8)


def drawn(sheet: np.ndarray) -> np.ndarray:
    """Where the sheet is not paper."""
    return (sheet != np.array(PAPER)).any(axis=-1)


def test_pictures_lie_where_the_layout_says_and_are_untouched():
    generator = np.random.default_rng(0)
    sizes = [[(40, 60), (10, 90)], [(80, 20), (30, 30)]]
    rows = [
        [Cell(picture=generator.integers(0, 256, (*size, 3), np.uint8), caption="a", detail="b") for size in of_row]
        for of_row in sizes
    ]
    grid = Grid(rows=rows)
    sheet, layout = grid.draw(), grid.layout()
    assert sheet.shape == (layout.size[1], layout.size[0], 3)
    for row, top in zip(rows, layout.pictures, strict=True):
        for cell, left in zip(row, layout.lefts, strict=True):
            height, width = cell.picture.shape[:2]
            np.testing.assert_array_equal(sheet[top : top + height, left : left + width], cell.picture)
    assert layout.lefts == [GAP, GAP + 60 + GAP]
    assert layout.pictures[1] - layout.rows[1] == layout.pictures[0] - layout.rows[0]
    assert layout.rows[1] - layout.pictures[0] == 40 + GAP, "a row is as high as its highest picture"


def test_side_is_the_longer_side_of_every_picture():
    grid = Grid(rows=[[Cell(picture=plain(30, 60)), Cell(picture=plain(400, 100)), Cell(picture=plain(7, 7)[..., 0])]])
    assert Grid(**{**vars(grid), "side": 120}).layout().widths == [120, 30, 120]
    assert grid.layout().widths == [60, 100, 7]


def test_square_cells_make_every_row_equally_high():
    pictures = [plain(30, 60), plain(60, 30), plain(9, 9)]
    layout = Grid(rows=[[Cell(picture=picture)] for picture in pictures], side=50, square=True).layout()
    assert layout.widths == [50]
    assert np.diff([*layout.pictures, layout.size[1]]).tolist() == [50 + GAP] * 3


def test_texts_do_not_reach_into_the_next_column():
    """A column grows with what stands over its pictures, up to a limit; what is longer still is cut."""
    short = Grid(rows=[[Cell(picture=plain(9, 9), caption="mask 1, most confident"), Cell(picture=plain(9, 9))]])
    assert 100 < short.layout().widths[0] < 300
    for text in ({"caption": "W" * 200}, {"detail": "W" * 200}):
        grid = Grid(rows=[[Cell(picture=plain(9, 9), **text), Cell(picture=plain(9, 9))]], headings=("W" * 200, ""))
        layout = grid.layout()
        assert layout.widths[0] == 300
        between = slice(layout.lefts[0] + layout.widths[0] + 1, layout.lefts[1])
        assert not drawn(grid.draw())[:, between].any()
        assert drawn(grid.draw())[: layout.pictures[0], : between.start].any()


def test_of_a_name_that_is_too_long_the_end_is_kept():
    """Names of one folder differ there."""
    sheets = [
        Grid(rows=[[Cell(picture=plain(9, 200), caption=name)]]).draw()
        for name in (
            "one" + "folder" * 20 + "a.jpg",
            "other" + "folder" * 20 + "a.jpg",
            "one" + "folder" * 20 + "b.jpg",
        )
    ]
    np.testing.assert_array_equal(sheets[0], sheets[1])
    assert (sheets[0] != sheets[2]).any()


def test_titles_and_notes_are_as_wide_as_the_sheet():
    rows = [[Cell(picture=plain(20, 200)), Cell(picture=plain(20, 200))]] * 2
    grid = Grid(rows=rows, title="W" * 20, headings=("a", "b"), notes=["W" * 24, "W" * 200])
    sheet, layout = drawn(grid.draw()), grid.layout()
    assert layout.widths == [200, 200]
    for top, bottom in [(0, layout.headings), *zip(layout.rows, layout.pictures, strict=True)]:
        assert sheet[top:bottom, layout.lefts[1] :].any()
        assert not sheet[top:bottom, -GAP + 1 :].any()


def test_room_is_kept_only_for_texts_that_are_there():
    bare = Grid(rows=[[Cell(picture=plain(20, 40))]])
    assert bare.draw().shape == (20 + 2 * GAP, 40 + 2 * GAP, 3)
    heights = [
        Grid(**{**vars(bare), **more}).draw().shape[0]
        for more in (
            {"rows": [[Cell(picture=plain(20, 40), caption="a")]]},
            {"rows": [[Cell(picture=plain(20, 40), caption="a", detail="b")]]},
            {"rows": [[Cell(picture=plain(20, 40), caption="a", detail="b")]], "headings": ("c",)},
            {"rows": [[Cell(picture=plain(20, 40), caption="a", detail="b")]], "headings": ("c",), "notes": ("d",)},
        )
    ]
    assert np.all(np.diff([20 + 2 * GAP, *heights]) >= 12)


def test_a_border_runs_around_each_picture():
    grid = Grid(rows=[[Cell(picture=plain(20, 40)), Cell(picture=plain(10, 40))]], border=True)
    sheet, layout = grid.draw(), grid.layout()
    lines = (sheet == np.array(BORDER)).all(axis=-1)
    assert lines.sum() == 2 * (22 + 40) + 2 * (12 + 40)
    top, left = layout.pictures[0], layout.lefts[1]
    assert lines[top - 1 : top + 11, left - 1].all()
    assert lines[top + 10, left - 1 : left + 41].all()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("caf\udce9.jpg", "caf\\udce9.jpg"),
        ("two\nlines.jpg", "two lines.jpg"),
        ("", ""),
        ("\x00.jpg", "\x00.jpg"),
        ("写真.jpg", "写真.jpg"),
    ],
)
def test_any_name_can_be_written(name, written):
    """On one line, and bytes that are no UTF-8 as everywhere else."""
    sheet, expected = (
        Grid(rows=[[Cell(picture=plain(9, 9), caption=text, detail=text)]], title=text, headings=(text,)).draw()
        for text in (name, written)
    )
    np.testing.assert_array_equal(sheet, expected)


def test_rows_may_differ_in_length_or_be_missing():
    grid = Grid(rows=[[Cell(picture=plain(9, 30))], [Cell(picture=plain(9, 20)), Cell(picture=plain(9, 50))]])
    assert grid.layout().widths == [30, 50]
    assert Grid(rows=[], headings=("a", "b")).draw().shape[1] > 3 * GAP
