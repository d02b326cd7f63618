"""Files that are there whole, or as they were before."""

import os

import numpy as np
import pytest
from PIL import Image

from samjax.core.errors import UserError
from samjax.core.files import write_png, write_whole


def test_what_is_written_is_there_and_nothing_else(tmp_path):
    write_whole(tmp_path / "a.txt", "grün")
    write_whole(tmp_path / "a.txt", b"\x00\x01")
    write_png(tmp_path / "a.png", np.full((2, 3, 3), 7, np.uint8))
    assert (tmp_path / "a.txt").read_bytes() == b"\x00\x01"
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), np.full((2, 3, 3), 7))
    assert sorted(os.listdir(tmp_path)) == ["a.png", "a.txt"]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    write_whole(tmp_path / "a.txt", "before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"a\.txt cannot be written \(No space left on device\)"):
        write_whole(tmp_path / "a.txt", "after")
    assert (tmp_path / "a.txt").read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(UserError, match=r"nowhere/a\.txt cannot be written"):
        write_whole(tmp_path / "nowhere" / "a.txt", "")
