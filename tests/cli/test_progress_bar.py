"""One bar for all commands: on a terminal, and nothing elsewhere."""

import io
import sys
from pathlib import Path

import pytest

from data_pipelines.sa1b import PrepareProgress
from samjax.cli import data_prepare
from samjax.cli.progress_bar import progress

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("in_bytes", [False, True])
def test_a_terminal_shows_what_is_counted_how_far_and_the_note(in_bytes, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with progress("photos", total=None, done=1, in_bytes=in_bytes) as bar:
        bar.to(3, total=8)
        bar(2, note="fast")
    shown = terminal.getvalue()
    assert "photos" in shown
    assert "5/8" in shown
    assert "fast" in shown


def test_nothing_is_printed_where_nobody_watches(capsys):
    with progress("photos", total=2) as bar:
        bar(2)
    assert capsys.readouterr() == ("", "")


def test_no_other_command_makes_its_own():
    """Training alone does, whose bar is a tracker."""
    own = [
        path.relative_to(ROOT).as_posix()
        for folder in ("samjax", "data_pipelines")
        for path in (ROOT / folder).rglob("*.py")
        if "rich.progress" in path.read_text()
    ]
    assert sorted(own) == ["samjax/cli/progress_bar.py", "samjax/training/trackers.py"]


def test_a_preparation_without_a_terminal_prints_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(data_prepare, "_LINE_EVERY_S", 0)
    state = PrepareProgress(units=1, units_total=4, size=50, size_total=200, photos=7, masks=21, drops=2)
    for has_masks, masks in [(True, ", 21 masks"), (False, "")]:
        with data_prepare._display(has_masks=has_masks) as watch:
            watch(state)
        assert capsys.readouterr().err == f"25%: 1 of 4 shards, 7 photos{masks}, 2 dropped\n"
