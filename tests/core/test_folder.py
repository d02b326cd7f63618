"""Folders of results: looked at before the work, whole or not there, and what a full disk is told as."""

import errno
import os

import pytest

from samjax.core.errors import UserError
from samjax.core.files import tell_write_errors
from samjax.core.folder import check_can_write, check_request, check_room, read_request, whole_folder


def test_a_folder_that_can_be_written_is_not_made(tmp_path):
    check_can_write(tmp_path / "a" / "b")
    check_can_write(tmp_path)
    check_can_write("gs://bucket/out")
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    for way in ("file", "loose"):
        for out in (tmp_path / way, tmp_path / way / "below" / "out"):
            with pytest.raises(UserError, match=rf"--plot {out}: {tmp_path / way} is a file, expected a folder"):
                check_can_write(out, option="--plot")


def test_a_place_without_permission_is_named():
    with pytest.raises(UserError, match=r"^/proc/1/out cannot be written \(.+\): give another --out$"):
        check_can_write("/proc/1/out")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(number, tmp_path):
    def fill():
        with whole_folder(tmp_path / "out") as partial:
            (partial / "half").write_text("half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(UserError, match=r"out cannot be written \(.*(space|quota).*\): free some room"):
        fill()
    assert not list(tmp_path.iterdir())


def test_a_librarys_error_of_a_full_disk_is_the_same_sentence(tmp_path):
    """As TensorStore's, safetensors' and, after the system's own, PyTorch's."""

    def in_words():
        with tell_write_errors(tmp_path):
            raise ValueError("RESOURCE_EXHAUSTED: Failed to write to file 14: No space left on device [code='28']")

    def after_the_systems():
        with tell_write_errors(tmp_path):
            try:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                raise RuntimeError("unexpected pos 64 vs 32")

    for fail in (in_words, after_the_systems):
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\): free some room"):
            fail()


def test_room_is_looked_at_before_the_work(tmp_path):
    check_room(tmp_path / "out", 1)
    with pytest.raises(UserError, match=r"out needs 1,000,000,000.0 MB, and [\d,.]+ MB are free there"):
        check_room(tmp_path / "out", 10**15)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_other_errors_pass_and_leave_nothing(error, tmp_path):
    with pytest.raises(error), tell_write_errors(tmp_path), whole_folder(tmp_path / "a" / "out"):
        raise error
    assert not list((tmp_path / "a").iterdir())


def test_a_whole_folder_is_for_whom_new_files_are(tmp_path):
    """Into an empty folder too."""
    (tmp_path / "like").mkdir()
    (tmp_path / "like" / "file").touch()
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "file").touch(mode=0o600)
    modes = [(tmp_path / place).stat().st_mode for place in ("out", "out/deep", "like")]
    assert len(set(modes)) == 1
    files = [(tmp_path / place).stat().st_mode for place in ("out/deep/file", "like/file")]
    assert len(set(files)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["like", "out"]


def test_a_folder_goes_on_only_as_it_was_begun():
    before = {"checkpoint": "a", "seed": 1}
    check_request(before, dict(before), sentence="--out x was begun")
    with pytest.raises(UserError, match=r"^--out x was begun with seed 1, now it is 2: resume with the first value"):
        check_request(before, {**before, "seed": 2}, sentence="--out x was begun")
    with pytest.raises(UserError, match="limit None, now it is 3"):
        check_request(before, {**before, "limit": 3}, sentence="--out x was begun")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"settings": 3}', "{}"])
def test_a_request_that_cannot_be_read_is_told(content, tmp_path):
    file = tmp_path / "about.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"about\.json is damaged"):
        read_request(file, fields={"settings": dict})
    file.write_text('{"settings": {"a": 1}}')
    assert read_request(file, fields={"settings": dict}) == {"settings": {"a": 1}}
