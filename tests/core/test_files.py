"""Files that are there whole, or as they were before."""

import errno
import os

import numpy as np
import pytest
from PIL import Image

from samjax.core import files
from samjax.core.errors import UserError
from samjax.core.files import move_whole, write_png, write_whole


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


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/a\.txt cannot be written \(Not a directory\)"):
        write_whole(tmp_path / "file" / "a.txt", "")


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_folder_after(tmp_path, monkeypatch):
    """Else a power cut leaves the name without the content, or neither."""
    order = []
    real_sync, real_replace = files.sync, os.replace
    monkeypatch.setattr(files, "sync", lambda path: (order.append(path.name), real_sync(path)))
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append("rename"), real_replace(old, new)))
    write_whole(tmp_path / "a.txt", "content")
    partial = f".a.txt.{os.getpid()}.partial"
    assert order == [partial, "rename", tmp_path.name]


def test_a_folder_is_moved_when_all_in_it_is_on_the_disk(tmp_path, monkeypatch):
    (tmp_path / "new/deep").mkdir(parents=True)
    (tmp_path / "new/deep/a").write_text("x")
    (tmp_path / "new/b").write_text("x")
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(os.readlink(f"/proc/self/fd/{handle}")), real(handle))
    )
    move_whole(tmp_path / "new", tmp_path / "old")
    names = [os.path.relpath(path, tmp_path) for path in synced]
    assert sorted(names[:-1]) == ["new", "new/b", "new/deep", "new/deep/a"]
    assert names[-1] == "."


def failing(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EPERM, errno.ENOSYS])
def test_a_file_system_without_sync_is_told_of_once_and_written_to(tmp_path, monkeypatch, caplog, number):
    caplog.set_level("INFO")
    monkeypatch.setattr(os, "fsync", failing(number))
    monkeypatch.setattr(files, "_told", set())
    write_whole(tmp_path / "a.txt", "one")
    write_whole(tmp_path / "b.txt", "two")
    assert (tmp_path / "b.txt").read_text() == "two"
    (line,) = caplog.messages
    assert str(tmp_path) in line
    assert os.strerror(number) in line


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_when_it_syncs_is_an_error(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", failing(number))
    with pytest.raises(UserError, match=rf"a.txt cannot be written \({os.strerror(number)}"):
        write_whole(tmp_path / "a.txt", "one")
    assert os.listdir(tmp_path) == []


def test_a_name_that_is_not_utf8_is_written_as_an_escape(tmp_path):
    """It ends no work that is done: the file stays text for whatever reads it."""
    write_whole(tmp_path / "a.csv", "photo_\udcff.jpg,1\n")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "photo_\\udcff.jpg,1\n"
