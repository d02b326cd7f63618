"""A full disk or a kill within a commit: what was acknowledged is there, once, and nothing is there by half."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from helpers.annotators import agree, files_say, new_uuid, open_folder, some_mask

from data_pipelines.sa1b import prepare
from samjax.annotate import state_files
from samjax.annotate.annotation_folder import EVENTS
from samjax.annotate.event_log import EventLog
from samjax.annotate.refusals import NotSavedError
from samjax.core import files
from samjax.core.errors import UserError


class Killed(BaseException):
    """Stands for a kill: nothing after it is done."""


@pytest.fixture
def full_disk():
    """Lets no file grow beyond some bytes, as a disk that fills up within a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("act", ["first", "add", "change", "delete", "done"])
def test_a_full_disk_changes_nothing_and_later_there_is_room(tmp_path, full_disk, act):
    """Whichever byte is the last that fits: of the event, of the JPEG, of the JSON."""

    def do(folder):
        if act == "delete":
            return folder.delete(0, new_uuid(0), 1, annotator="ann")
        if act == "done":
            return folder.finish(1, annotator="ann")
        mask = some_mask(0 if act == "change" else 1, place=3)
        return folder.commit(1 if act == "first" else 0, mask, revision=1 if act == "change" else None)

    sentences = []
    with open_folder(tmp_path) as folder:
        folder.commit(0, some_mask(0))
        before = files_say(folder.path), (folder.path / EVENTS).read_bytes()
        sizes = [path.stat().st_size for path in folder.path.rglob("*") if path.is_file()]
        for size in sorted({100, *sizes, *(size + 60 for size in sizes), *(size + 300 for size in sizes)}):
            full_disk(size)
            try:
                do(folder)
                break
            except NotSavedError as error:
                sentences.append(str(error))
            finally:
                full_disk(2**30)
            assert (files_say(folder.path), (folder.path / EVENTS).read_bytes()) == before
            assert agree(folder)
            assert not list(folder.path.rglob("*.partial"))
        if act != "delete":
            do(folder)
        assert sentences
        assert all("File too large" in sentence for sentence in sentences)
        assert agree(folder)
    with open_folder(tmp_path) as folder:
        assert agree(folder)


@pytest.mark.parametrize("call", ["write_whole", "events", "after"])
@pytest.mark.parametrize("at", range(1, 8))
def test_a_kill_at_any_write_loses_nothing_that_was_acknowledged(tmp_path, monkeypatch, call, at):
    """Killed before the `at`th file is written, after the event is appended, or after the file is renamed."""
    calls = 0

    def dies(real):
        def write(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == at and call != "after":
                raise Killed
            result = real(*args, **kwargs)
            if calls == at:
                raise Killed
            return result

        return write

    folder = open_folder(tmp_path)
    acknowledged = {}
    with monkeypatch.context() as patch:
        if call == "events":
            patch.setattr(EventLog, "append", dies(EventLog.append))
        else:
            patch.setattr(state_files, "write_whole", dies(files.write_whole))
        patch.setattr(EventLog, "withdraw", lambda *_: None)  # a dead process does not clean up
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        with pytest.raises(Killed):  # noqa: PT012
            for seed in range(20):
                mask = folder.commit(seed % 3, some_mask(seed))
                acknowledged[mask.uuid] = seed % 3
                if seed > 2:
                    other = folder.masks(seed % 3)[0]
                    folder.commit(seed % 3, some_mask(seed % 3, place=seed), revision=other.revision)
    folder.close()
    with open_folder(tmp_path) as folder:
        assert agree(folder)
        there = Counter(mask.uuid for id in folder.photos for mask in folder.masks(id))
        assert acknowledged.keys() <= there.keys()
        assert len(there) <= len(acknowledged) + 1
        assert set(there.values()) <= {1}
        retried = new_uuid(len(acknowledged))
        folder.commit(len(acknowledged) % 3, some_mask(len(acknowledged)))
        assert retried in {mask.uuid for id in folder.photos for mask in folder.masks(id)}
        assert agree(folder)


def test_a_disk_that_fails_after_the_rename_forgets_nothing(tmp_path, monkeypatch):
    """The file is there, but the annotator is told that it may not be; the mask sent again adds nothing."""

    def moves_and_fails(path, target):
        os.replace(path, target)
        raise OSError(5, "Input/output error")

    with open_folder(tmp_path) as folder:
        folder.commit(0, some_mask(0))
        with monkeypatch.context() as patch:
            patch.setattr(files, "move_whole", moves_and_fails)
            with pytest.raises(NotSavedError, match="Input/output error"):
                folder.commit(0, some_mask(1))
        assert agree(folder)
        assert folder.commit(0, some_mask(1)).revision == 1
        assert len(folder.masks(0)) == 2
        assert agree(folder)


def test_a_kill_is_finished_with_the_photo_or_not_at_all(tmp_path, monkeypatch):
    """If the photo is not among --images at the next start, the folder says so, and waits for it."""
    with open_folder(tmp_path) as folder:
        folder.commit(1, some_mask(0))
        with monkeypatch.context() as patch:
            patch.setattr(state_files, "write_whole", lambda *_: (_ for _ in ()).throw(Killed))
            patch.setattr(EventLog, "withdraw", lambda *_: None)
            with pytest.raises(Killed):
                folder.commit(0, some_mask(1))
    (tmp_path / "photos" / "0.jpg").rename(tmp_path / "0.jpg")
    with pytest.raises(UserError, match="last change of photo 0 was cut short by a kill"):
        open_folder(tmp_path)
    (tmp_path / "0.jpg").rename(tmp_path / "photos" / "0.jpg")
    with open_folder(tmp_path) as folder:
        assert [mask.uuid for mask in folder.masks(0)] == [new_uuid(1)]
        assert agree(folder)


COMMITS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from helpers.annotators import open_folder, some_mask
folder = open_folder(Path(sys.argv[2]))
print("open", flush=True)
for seed in range(int(sys.argv[3]), 100_000):
    id = seed % 3
    mask = folder.commit(id, some_mask(seed))
    print("add", id, mask.uuid, flush=True)
    if seed % 5 == 4:
        first = folder.masks(id)[0]
        folder.delete(id, first.uuid, first.revision, annotator="ann")
        print("delete", id, first.uuid, flush=True)
"""


def test_kill_9_of_a_process_that_commits(tmp_path):
    """Three processes, each killed at a random moment: what they printed is on disk, and at most one act more."""
    folder = open_folder(tmp_path)
    folder.close()
    tests = os.path.dirname(os.path.dirname(__file__))
    expected, draw = set(), random.Random(0)
    for turn in range(3):
        command = [sys.executable, "-c", COMMITS, tests, str(tmp_path), str(1_000 * turn)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        said = process.stdout.readline()  # compiled loops are loaded by then
        time.sleep(draw.uniform(0.05, 0.5))
        process.send_signal(signal.SIGKILL)
        said += process.communicate()[0]
        assert process.returncode == -signal.SIGKILL
        whole = [line.split() for line in said.splitlines(keepends=True) if line.endswith("\n")]
        for act, id, uuid in whole:
            (expected.add if act == "add" else expected.discard)((int(id), uuid))
        with open_folder(tmp_path) as folder:
            found = [(id, mask.uuid) for id in folder.photos for mask in folder.masks(id)]
            assert len(set(found)) == len(found)
            assert len(set(found) ^ expected) <= 1
            assert agree(folder)
            expected = set(found)
    assert len(expected) > 8
    report = prepare(str(tmp_path / "out"), tmp_path / "records")
    assert (report.dropped, report.masks) == (0, len(expected))


def test_what_a_kill_leaves_beside_the_files_is_removed(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.commit(0, some_mask(0))
    out = tmp_path / "out"
    (out / ".sa_1.jpg.77.partial").write_bytes(b"half")
    (out / "sa_1.jpg").write_bytes(b"a photo without masks counts as broken")
    with open_folder(tmp_path) as folder:
        assert agree(folder)
        assert not list(out.rglob("*.partial"))
        assert json.loads((out / "sa_0.json").read_text())["image"]["event"]
