"""Leases: a photo has one annotator at a time, and no one keeps it for ever."""

import pytest

from samjax.annotate.event_log import Act, EventLog, read_events
from samjax.annotate.folder_progress import FolderProgress
from samjax.annotate.leases import Leases
from samjax.annotate.refusals import LostLeaseError


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Leases and the events that they were made of; `restart` makes them again."""

    def __init__(self, path):
        self.path, self.clock = path, Clock()
        self.events = None
        self.restart()

    def restart(self):
        if self.events is not None:
            self.events.close()
        self.progress = FolderProgress()
        self.events = EventLog(self.path, watchers=[self.progress.update])
        self.leases = Leases(self.events, existing=self.progress.leases, clock=self.clock)


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "events")
    yield server
    server.events.close()


def test_a_photo_is_leased_to_one_annotator_until_its_time_is_over(server):
    leases, clock = server.leases, server.clock
    first = leases.take(5, "ann")
    assert first == leases.of_photo(5) == leases.of_annotator("ann")
    assert leases.take(5, "bob") is None
    clock.now += 119
    assert leases.take(5, "bob") is None
    clock.now += 1
    assert leases.of_photo(5) is None
    second = leases.take(5, "bob")
    assert second.number > first.number
    with pytest.raises(LostLeaseError, match=f"lease {first.number} of photo 5 has ended"):
        leases.renew(5, first.number)
    assert leases.of_photo(5) == second


def test_a_lease_that_is_renewed_lasts(server):
    lease = server.leases.take(5, "ann")
    for _ in range(10):
        server.clock.now += 100
        assert server.leases.renew(5, lease.number).until == server.clock.now + 120
        assert server.leases.take(5, "bob") is None


def test_an_annotator_has_one_photo_at_a_time(server):
    first = server.leases.take(5, "ann")
    second = server.leases.take(6, "ann")
    assert server.leases.of_annotator("ann") == second
    assert server.leases.of_photo(5) is None
    with pytest.raises(LostLeaseError):
        server.leases.renew(5, first.number)
    assert server.leases.take(5, "bob") is not None


def test_a_page_that_is_loaded_again_gets_the_photo_with_a_higher_number(server):
    first = server.leases.take(5, "ann")
    second = server.leases.take(5, "ann")
    assert second.number > first.number
    with pytest.raises(LostLeaseError):
        server.leases.renew(5, first.number)
    assert server.leases.renew(5, second.number).number == second.number


def test_a_lease_whose_time_is_over_lives_again_if_nobody_took_the_photo(server):
    """A laptop that slept goes on where it was."""
    lease = server.leases.take(5, "ann")
    server.clock.now += 1_000
    server.leases.take(6, "bob")  # which notices that the other has ended
    assert server.leases.of_photo(5) is None
    assert server.leases.renew(5, lease.number).number == lease.number
    assert server.leases.take(5, "bob") is None
    server.clock.now += 1_000
    server.leases.take(7, "ann")
    with pytest.raises(LostLeaseError, match="ann has another"):
        server.leases.renew(5, lease.number)


def test_a_released_lease_is_over(server):
    lease = server.leases.take(5, "ann")
    server.leases.release(5, lease.number)
    server.leases.release(5, lease.number)
    assert server.leases.of_photo(5) is None
    with pytest.raises(LostLeaseError):
        server.leases.renew(5, lease.number)
    other = server.leases.take(5, "bob")
    server.leases.release(5, lease.number)  # late, of another
    assert server.leases.of_photo(5) == other


def test_leases_outlive_the_server_for_a_whole_term(server):
    ann, bob, eve = (server.leases.take(photo, name) for photo, name in ((1, "ann"), (2, "bob"), (3, "eve")))
    server.leases.release(2, bob.number)
    server.clock.now += 119
    server.leases.renew(1, ann.number)
    server.clock.now += 100
    server.leases.take(4, "joe")  # eve's time is over
    server.restart()
    assert server.leases.of_photo(1).number == ann.number
    assert server.leases.of_photo(2) is None
    assert server.leases.of_photo(3) is None
    assert server.leases.take(1, "bob") is None
    assert server.leases.renew(1, ann.number).until == server.clock.now + 120
    assert server.leases.take(5, "bob").number > eve.number
    with pytest.raises(LostLeaseError):
        server.leases.renew(3, eve.number)


def test_events_say_who_had_what_when(server):
    lease = server.leases.take(5, "ann")
    server.clock.now += 200
    server.leases.take(6, "bob")
    server.leases.renew(5, lease.number)
    server.leases.take(7, "bob")
    said = [(event.act, event.photo, event.annotator) for event in read_events(server.path)]
    assert said == [
        (Act.LEASE, 5, "ann"),
        (Act.EXPIRE, 5, "ann"),
        (Act.LEASE, 6, "bob"),
        (Act.LEASE, 5, "ann"),
        (Act.RELEASE, 6, "bob"),
        (Act.LEASE, 7, "bob"),
    ]
