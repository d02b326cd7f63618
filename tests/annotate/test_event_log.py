"""Events: what was appended is there after a kill, and nothing else is."""

import contextlib
import errno
import os
import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samjax.annotate.event_log import Act, EventLog, read_events
from samjax.annotate.refusals import NotSavedError
from samjax.core.errors import UserError


def opened(path, **options):
    return contextlib.closing(EventLog(path, **options))


def fill(path, count):
    with opened(path, now=lambda: 1_700_000_000.1239) as log:
        return [log.record(Act.NOTE, photo=k, annotator="änn\ud800", place=[k, {"x": 0.1}]) for k in range(count)]


def test_events_are_read_as_they_were_appended(tmp_path):
    events = fill(tmp_path / "log", 3)
    assert [event.number for event in events] == [1, 2, 3]
    assert events[0].time == 1_700_000_000.124
    assert list(read_events(tmp_path / "log")) == events
    seen = []
    with opened(tmp_path / "log", watchers=[seen.append]) as log:
        assert seen == events
        last = log.record(Act.START)
        assert (last.number, seen[-1], log.torn_bytes) == (4, last, 0)


@settings(max_examples=40)
@given(cut=st.integers(0, 10_000), rest=st.sampled_from([b"", b"\0" * 300, b'{"number": 9', b"\n", b"\x80\n"]))
def test_a_torn_last_line_is_cut_off_and_all_before_it_stay(tmp_path_factory, cut, rest):
    path = tmp_path_factory.mktemp("log") / "log"
    events = fill(path, 3)
    ends = [sum(len(event.line()) for event in events[: k + 1]) for k in range(3)]
    cut = cut % (ends[-1] + 1)
    path.write_bytes(path.read_bytes()[:cut] + rest)
    whole = [event for event, end in zip(events, ends, strict=True) if end <= cut]
    if rest == b"\n" and cut + 1 in ends:  # the last line is whole again
        whole = events[: len(whole) + 1]
    assert list(read_events(path)) == whole
    size = path.stat().st_size
    with opened(path) as log:
        kept = sum(len(event.line()) for event in whole)
        assert (path.stat().st_size, log.torn_bytes) == (kept, size - kept)
        assert log.record(Act.NOTE).number == len(whole) + 1
    assert len(list(read_events(path))) == len(whole) + 1


@pytest.mark.parametrize(
    "damage",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"number": 1, "act": "note"}\n',
        b'{"number": 2, "act": "x"}\n',
        b'{"number": 2, "act": "delete", "uuid": "x"}\n',
    ],
)
def test_a_damaged_line_before_others_is_refused(tmp_path, damage):
    events = fill(tmp_path / "log", 3)
    (tmp_path / "log").write_bytes(events[0].line() + damage + events[2].line())
    with pytest.raises(UserError, match="log, line 2 is damaged"):
        EventLog(tmp_path / "log")


@pytest.fixture
def limit():
    """Sets the largest file that may be written, as a disk that is full: the write fails within the line."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def log(tmp_path):
    with opened(tmp_path / "log") as log:
        yield log


def test_a_full_disk_leaves_the_log_as_it_was(log, limit):
    first = log.record(Act.NOTE)
    size = log.path.stat().st_size
    limit(size + 20)
    for _ in range(2):
        with pytest.raises(NotSavedError, match=r"log cannot be written \(File too large\): make room"):
            log.append(Act.NOTE, text="x" * 100)
        assert log.path.stat().st_size == size
    limit(2**30)
    second = log.record(Act.NOTE, text="x" * 100)
    assert list(read_events(log.path)) == [first, second]
    assert second.number == 2


def test_a_withdrawn_event_was_never_there(log):
    first = log.record(Act.NOTE)
    log.withdraw(log.append(Act.NOTE))
    assert list(read_events(log.path)) == [first]
    second = log.record(Act.NOTE)
    assert second.number == 2
    with pytest.raises(ValueError, match="event 1 is not the one"):
        log.withdraw(first)
    log.withdraw(second)
    with pytest.raises(ValueError, match="event 1 is not the one"):
        log.withdraw(first)


def test_a_log_that_cannot_be_cut_takes_no_more_events(log, monkeypatch):
    """Else a line after half a line would make the log unreadable."""
    first = log.record(Act.NOTE)

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", fail)
        log.withdraw(log.append(Act.NOTE))
    with pytest.raises(NotSavedError, match="start the server again"):
        log.record(Act.NOTE)
    assert [event.number for event in read_events(log.path)] == [first.number, 2]
    with opened(log.path) as again:
        assert again.record(Act.NOTE).number == 3
