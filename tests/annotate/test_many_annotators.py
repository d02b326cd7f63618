"""Several people at once, with delays, retries, kills and restarts: every acknowledged mask is there, once."""

import contextlib
import threading
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from helpers.annotators import agree, leased_by_one, new_uuid, open_folder, rectangle, some_mask, some_proposals
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samjax.annotate import state_files
from samjax.annotate.event_log import EventLog
from samjax.annotate.leases import Leases
from samjax.annotate.photo_queue import PhotoQueue
from samjax.annotate.proposal import ProposalState
from samjax.annotate.queue_config import QueueConfig
from samjax.annotate.refusals import (
    ConflictError,
    LostLeaseError,
    NotAllowedError,
    StaleProposalError,
    UnknownPhotoError,
)
from samjax.annotate.saved_mask import MaskVerdict, Source
from samjax.core import files

NAMES = ("ann", "bob", "eve")
OF_PAGES = ("add", "add", "add", "change", "delete", "undo", "again", "late", "finish", "skip", "back", "next", "alive")
OF_PAGES += ("accept", "state", "judge")
OF_SERVER = ("sleep", "restart", "kill", "kill")
STEPS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(OF_PAGES + OF_SERVER), st.integers(0, 1_000)),
    min_size=20,
    max_size=60,
)


class Killed(BaseException):
    """Stands for a kill of the server."""


@dataclass
class Page:
    """What one annotator's browser knows."""

    name: str
    photo: int | None = None
    lease: int = 0
    requests: list = field(default_factory=list)
    """Adds and changes, as sent."""
    deleted: list = field(default_factory=list)
    """What can be undone: photo, mask, revision."""


class World:
    """A server and its pages, and what the pages have been told: the law compares that with the files."""

    def __init__(self, place):
        self.place, self.now, self.killing = place, 0.0, None
        self.pages = {name: Page(name) for name in NAMES}
        self.told: dict[tuple[int, str], tuple[int, str] | None] = {}
        """By photo and UUID, the revision and runs that were acknowledged last, None if that was a deletion."""
        self.revisions: dict[tuple[int, str], int] = {}
        """Of the deletions that were acknowledged last."""
        self.ids: dict[tuple[int, str], int] = {}
        """Of annotations: a mask keeps its own, whatever happens to it."""
        self.unsure: set[tuple[int, str]] = set()
        """Photos and UUIDs of requests that a kill left without an answer."""
        self.accepted: set[tuple[int, str]] = set()
        """Photos and UUIDs of masks that were proposals."""
        self.holders: dict[int, tuple[str, float]] = {}
        self.start()
        for photo in (0, 1):
            self.folder.set_proposals(photo, some_proposals(0.9, 0.8, 0.7), model="vit_b")

    def start(self):
        self.folder = open_folder(self.place)
        leases = Leases(self.folder.events, existing=self.folder.progress.leases, clock=lambda: self.now)
        self.queue = PhotoQueue(self.folder, leases, QueueConfig())

    def step(self, name, act, number):
        if act in OF_SERVER:
            return self.serve(act, number)
        page = self.pages[name]
        with contextlib.suppress(ConflictError, LostLeaseError, StaleProposalError, UnknownPhotoError):
            try:
                self.ask(page, act, number)
            except Killed:
                self.folder.close()
                self.start()
                for photo in (0, 1):
                    self.note_proposals(photo)
        return None

    def serve(self, act, number):
        if act == "sleep":
            self.now += number % 300
        elif act == "restart":
            self.folder.close()
            self.start()
        else:
            self.killing = number % 4

    def ask(self, page, act, number):
        if act in ("next", "back"):
            lease = self.queue.next(page.name) if act == "next" else self.queue.back(page.name)
            self.hold(page, lease)
        elif act == "late" and page.requests:
            self.commit(page, *page.requests[number % len(page.requests)])
        elif act == "again" and page.requests:
            self.commit(page, *page.requests[-1])
        elif act == "undo" and page.deleted:
            photo, mask, revision = page.deleted.pop()
            untouched = self.told[photo, mask.uuid] is None and (photo, mask.uuid) not in self.unsure
            try:
                self.commit(page, photo, mask, revision)
            except ConflictError:
                assert not untouched or revision != self.revisions[photo, mask.uuid]
                raise
        else:
            if page.photo is None:
                self.hold(page, self.queue.next(page.name))
            if page.photo is not None:
                self.work(page, act, number)

    def work(self, page, act, number):
        photo = page.photo
        if act == "add":
            self.commit(page, photo, some_mask(number % 9, annotator=page.name), None)
            return
        lease = self.queue.leases.renew(photo, page.lease)
        self.hold(page, lease)
        masks = self.folder.masks(photo)
        if act in ("change", "delete") and masks:
            mask = masks[number % len(masks)]
            if act == "change":
                changed = replace(mask, runs=rectangle(number), annotator=page.name)
                self.commit(page, photo, changed, mask.revision - number % 2)
            else:
                with self.server_may_die(photo, mask.uuid):
                    revision = self.folder.delete(photo, mask.uuid, mask.revision, annotator=page.name)
                self.told[photo, mask.uuid], self.revisions[photo, mask.uuid] = None, revision
                page.deleted.append((photo, mask, revision))
        elif act == "judge" and masks:
            uuid, verdict = masks[number % len(masks)].uuid, list(MaskVerdict)[number % 3]
            with contextlib.suppress(NotAllowedError), self.server_may_die(photo, uuid):
                stored = self.folder.judge(photo, uuid, verdict, annotator=page.name)
                self.told[photo, uuid] = stored and (stored.revision, stored.runs["counts"])
                self.revisions[photo, uuid] = -1
        elif act in ("accept", "state") and photo < 2:
            with self.server_may_die(photo, None):
                seen = [one.revision - (number % 5 == 0) for one in self.folder.proposals(photo)]
                if act == "accept":
                    chosen = {place: seen[place] for place in (number % 3, number % 2)}
                    self.folder.accept(photo, chosen, annotator=page.name)
                else:
                    place, state = number % 3, list(ProposalState)[number % 4]
                    self.folder.set_state(photo, place, state, revision=seen[place], annotator=page.name)
            self.note_proposals(photo)
        elif act in ("finish", "skip"):
            with self.server_may_die(photo, ""):
                (self.queue.finish if act == "finish" else self.queue.skip)(photo, lease=page.lease)
            self.holders.pop(photo, None)
            page.photo = None

    def note_proposals(self, photo):
        """Take what happened to masks that were proposals from the folder: the law for them is that events say so."""
        there = {(photo, mask.uuid): mask for mask in self.folder.masks(photo)}
        self.accepted |= {key for key, mask in there.items() if mask.source is Source.PROPOSAL}
        for key in [key for key in self.accepted if key[0] == photo]:
            mask = there.get(key)
            self.told[key] = mask and (mask.revision, mask.runs["counts"])
            self.revisions[key] = -1

    def commit(self, page, photo, mask, revision):
        page.requests.append((photo, mask, revision))
        is_gone = self.told.get((photo, mask.uuid), ()) is None and (photo, mask.uuid) not in self.unsure
        with self.server_may_die(photo, mask.uuid):
            stored = self.folder.commit(photo, mask, revision=revision)
        assert stored.uuid == mask.uuid
        assert revision is None or stored.revision == revision + 1
        assert not (is_gone and revision is None)  # a late add brings nothing back
        assert self.ids.setdefault((photo, mask.uuid), stored.id) == stored.id
        self.told[photo, mask.uuid] = (stored.revision, stored.runs["counts"])

    def hold(self, page, lease):
        if lease is None:
            return
        name, until = self.holders.get(lease.photo, (page.name, 0.0))
        assert name == page.name or until <= self.now, f"{lease} while {name} has the photo until {until}"
        assert lease.annotator == page.name
        for photo in [photo for photo, (name, _) in self.holders.items() if name == page.name]:
            del self.holders[photo]
        self.holders[lease.photo] = (page.name, lease.until)
        page.photo, page.lease = lease.photo, lease.number

    @contextlib.contextmanager
    def server_may_die(self, photo, uuid):
        """Kill the server within the request, if that is to be: before a file is written, or after."""
        at, self.killing = self.killing, None
        if at is None:
            yield
            self.unsure.discard((photo, uuid))
            return
        calls = 0

        def dies(*args):
            nonlocal calls
            calls += 1
            if calls <= at // 2:
                files.write_whole(*args)
                return
            if at % 2:
                files.write_whole(*args)
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(state_files, "write_whole", dies)
            patch.setattr(EventLog, "withdraw", lambda *_: None)
            patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
            try:
                yield
            except Killed:
                self.unsure |= {(photo, uuid)} if uuid is not None else self.accepted
                raise

    def check(self):
        assert agree(self.folder)
        found = [(id, mask) for id in self.folder.photos for mask in self.folder.masks(id)]
        where = Counter((id, mask.uuid) for id, mask in found)
        assert set(where.values()) <= {1}
        ids = [mask.id for _, mask in found]
        assert len(set(ids)) == len(ids)
        there = {(id, mask.uuid): (mask.revision, mask.runs["counts"]) for id, mask in found}
        for key, told in self.told.items():
            if key not in self.unsure:
                assert there.get(key) == told
        assert there.keys() <= self.told.keys() | self.unsure


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_what_was_acknowledged_is_there_once_and_a_photo_is_leased_by_one(tmp_path_factory, steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # which only a power cut could tell
        play(World(tmp_path_factory.mktemp("world")), steps)


def play(world, steps):
    try:
        for step in steps:
            world.step(*step)
        world.check()
        progress = world.folder.progress
        world.serve("restart", 0)
        world.check()
        assert replace(world.folder.progress, skips={}) == replace(progress, skips={})
        leased_by_one(world.folder.path)
    finally:
        world.folder.close()


def test_threads_at_once(tmp_path):
    """Eight people, each with a thread, who send every mask twice."""
    folder = open_folder(tmp_path, 12)
    queue = PhotoQueue(folder, Leases(folder.events), QueueConfig())
    done: dict[str, list[int]] = {f"person {k}": [] for k in range(8)}
    errors = []

    def work(person):
        try:
            name = f"person {person}"
            while lease := queue.next(name):
                for k in range(3):
                    mask = some_mask(1_000 * lease.photo + k, annotator=name)
                    for _ in range(2):
                        assert folder.commit(lease.photo, mask).annotator == name
                assert folder.proposals(lease.photo) == []
                queue.finish(lease.photo, lease=lease.number)
                done[name].append(lease.photo)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(person,)) for person in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with folder:
        assert not errors
        assert sorted(photo for photos in done.values() for photo in photos) == sorted(folder.photos)
        assert all(len(folder.masks(id)) == 3 for id in folder.photos)
        assert folder.masks(0)[0].uuid == new_uuid(0)
        assert agree(folder)
        leased_by_one(folder.path)
