"""The folder that people's masks go to: SA-1B's layout, so that training reads it, from the first mask on.

Each change is first appended to the events, then the photo's JSON is replaced whole. A kill between the two leaves one
event, the last, that its photo's JSON lacks: opening the folder makes up for it. Where the JSON cannot be written, the
event is withdrawn. So events and files agree, and what a caller was told is on disk. A JSON that is damaged, gone or
old is made again from the events.

    annotate.json                  settings, and the id of each photo by its path
    sa_<id>.jpg                    the photo, upright, from its first mask on
    sa_<id>.json                   its masks as SA-1B has them, and for each `uuid`, `revision`, `source`, `annotator`,
                                   `seconds`, `active_seconds`, `clicks`, `model`, `prompts`, `verdict` and `verifier`
    annotate/events.jsonl          one line for each act
    annotate/proposals/<id>.json   the model's masks
"""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samjax.annotate.event_log import Act, EventLog, read_events
from samjax.annotate.folder_about import INSIDE, FolderAbout, local_folder, read_about
from samjax.annotate.folder_progress import FolderProgress
from samjax.annotate.mask_acts import commit_mask, delete_mask, judge_mask
from samjax.annotate.mask_checks import check_annotator, check_mask
from samjax.annotate.photo_list import ListedPhoto, PhotoList
from samjax.annotate.photo_state import DamagedError, PhotoState, written_event
from samjax.annotate.proposal import Proposal, ProposalState
from samjax.annotate.proposal_acts import accept_proposals, place_proposals, set_proposal_state
from samjax.annotate.proposal_files import read_proposals
from samjax.annotate.saved_mask import MaskVerdict, SavedMask
from samjax.annotate.state_files import StateFiles
from samjax.core.errors import UserError
from samjax.core.files import tell_write_errors
from samjax.core.folder import lock_folder

EVENTS = f"{INSIDE}/events.jsonl"


class AnnotationFolder:
    """Masks of photos by the photo's id. Every change is on disk when the call returns. Safe with several threads.

    Open it with `open_annotations`. Names of annotators are checked as masks are.
    """

    def __init__(self, path: Path, photos: PhotoList, *, now: Callable[[], float], release: contextlib.ExitStack):
        """Open the events and make up for what a kill left undone; `release` is closed with the folder."""
        self.path = path
        self.photos = photos
        self.progress = FolderProgress()
        """What the events say, for the queue."""
        self._release = release
        with tell_write_errors(path):
            (path / INSIDE).mkdir(exist_ok=True)
        self.events = EventLog(path / EVENTS, watchers=[self.progress.update], now=now)
        release.callback(self.events.close)
        self.files = StateFiles(
            path, photos, last_event=lambda id: self.progress.photo(id).event, rebuild=self._rebuild
        )
        if not self.events.last_number and (existing := next(path.glob("sa_*.json"), None)):
            raise UserError(f"{path / EVENTS} is gone, but {existing.name} is there: restore it from a copy")
        self._finish_last()
        self.files.clean()

    def __getitem__(self, id: int) -> ListedPhoto:
        """Return a photo.

        Raises:
          UnknownPhotoError: there is no such photo.
        """
        return self.photos[id]

    def masks(self, id: int) -> list[SavedMask]:
        """Return the photo's masks, in the order of their first commits.

        Raises:
          UnknownPhotoError: there is no such photo.
          UserError: its JSON is damaged, or the photo has another size now.
        """
        with self.events.lock:
            return self.files.state(id).masks()

    def jpeg(self, id: int) -> bytes:
        """Return the photo's JPEG: the stored one if it has masks, else the one that will be stored.

        Raises:
          UserError: it cannot be read; UnknownPhotoError: there is no such photo.
        """
        self.photos[id]
        return self.files.jpeg(id)

    def commit(self, id: int, mask: SavedMask, *, revision: int | None = None) -> SavedMask:
        """Add a mask if its UUID is new; with the `revision` that the annotator saw, change it.

        Adding is never refused for who asks or when: a UUID that is there already adds nothing and returns what is
        stored, so a request may be sent again. With the revision that `delete` returned a deleted mask comes back, with
        its id: this is how a delete is undone. Without, it does not: a late repetition of the first request undoes
        nothing.

        Raises:
          ConflictError: `revision` is not the current one, or the mask is deleted.
          InvalidMaskError: it is no mask of this photo.
          NotSavedError: the disk is full or fails; nothing is changed.
          UnknownPhotoError: there is no such photo.
        """
        shape = check_mask(mask, self.photos[id])
        with self.events.lock:
            return commit_mask(self, id, mask, shape, revision=revision)

    def delete(self, id: int, uuid: str, revision: int, *, annotator: str) -> int:
        """Delete a mask, and return the revision with which a commit brings it back. One that is deleted stays so.

        Raises:
          ConflictError: `revision` is not the current one.
          NotSavedError: the disk is full or fails; nothing is changed.
          UnknownPhotoError: there is no such photo or mask.
        """
        check_annotator(annotator)
        with self.events.lock:
            return delete_mask(self, id, uuid, revision, annotator=annotator)

    def judge(self, id: int, uuid: str, verdict: MaskVerdict, *, annotator: str) -> SavedMask | None:
        """Record another person's verdict on a mask; return the mask, None if the verdict NO deleted it.

        Raises:
          NotAllowedError: the annotator made the mask.
          NotSavedError: the disk is full or fails; nothing is changed.
          UnknownPhotoError: there is no such photo or mask.
        """
        check_annotator(annotator)
        with self.events.lock:
            return judge_mask(self, id, uuid, verdict, annotator=annotator)

    def proposals(self, id: int) -> list[Proposal]:
        """Return the model's masks of the photo with their states, none if it has none.

        Raises:
          UnknownPhotoError: there is no such photo.
          UserError: their file is damaged.
        """
        with self.events.lock:
            return read_proposals(self.path, self.photos[id], self.progress.photo(id).states)[0]

    def set_proposals(self, id: int, proposals: Sequence[Proposal], *, model: str) -> None:
        """Store the model's masks of a photo, in place of earlier ones that nobody has touched.

        Raises:
          InvalidMaskError: one is no mask of the photo, or their numbers are not 0, 1, 2, ...
          NotAllowedError: somebody has accepted, rejected or changed some of the earlier ones.
          NotSavedError: the disk is full or fails.
        """
        with self.events.lock:
            place_proposals(self, id, proposals, model=model)

    def accept(self, id: int, revisions: Mapping[int, int], *, annotator: str, seconds: float = 0.0) -> list[SavedMask]:
        """Make proposals masks, in one act; those whose mask is there stay as they are. Returns the masks of all.

        The UUID of such a mask follows from the proposal, so a request may be sent again.

        Args:
          revisions: by the proposals' numbers, the `Proposal.revision` that the annotator saw, 0 where nobody had
            touched it. So a late repetition does not bring back what was rejected since.

        Raises:
          StaleProposalError: the state of one without a mask has been set since; nothing is changed.
          NotSavedError: the disk is full or fails; nothing is changed.
          UnknownPhotoError: there is no such photo or proposal.
        """
        with self.events.lock:
            return accept_proposals(self, id, revisions, annotator=annotator, seconds=seconds)

    def set_state(self, id: int, number: int, state: ProposalState, *, revision: int, annotator: str) -> Proposal:
        """Set what a person did with a proposal; rejecting or reopening an accepted one deletes its mask.

        Setting it raises the proposal's revision, also where the state is the one that it had: a request that was made
        before is then refused. The request that was done last may be sent again, and changes nothing.

        Args:
          revision: of the proposal as the annotator saw it.

        Raises:
          StaleProposalError: its state has been set since.
          ConflictError: its mask has been changed since.
          NotSavedError: the disk is full or fails; nothing is changed.
          UnknownPhotoError: there is no such photo or proposal.
        """
        with self.events.lock:
            return set_proposal_state(self, id, number, state, revision=revision, annotator=annotator)

    def finish(self, id: int, *, annotator: str) -> None:
        """Record that a person says the photo is done; without a mask it gets a JSON without annotations.

        Raises:
          NotSavedError: the disk is full or fails; nothing is changed.
          UnknownPhotoError: there is no such photo.
        """
        check_annotator(annotator)
        with self.events.lock:
            self.save(self.files.state(id), Act.DONE, annotator)

    def save(self, state: PhotoState, act: Act, annotator: str, /, **details: Any) -> PhotoState:
        """Append an event and write what it makes of a photo; for the acts of this package, with `events.lock` held.

        Raises:
          NotSavedError: the disk is full or fails; nothing is changed.
        """
        event = self.events.append(act, photo=state.photo.id, annotator=annotator, **details)
        fresh = state.after(event)
        try:
            self.files.write(fresh)
        except BaseException:
            if self.files.is_on_disk(fresh):
                self.events.publish(event)
            else:
                self.events.withdraw(event)
            raise
        self.events.publish(event)
        return fresh

    def close(self) -> None:
        """Close the files and let other processes in."""
        self._release.close()

    def __enter__(self) -> "AnnotationFolder":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _finish_last(self) -> None:
        """Write the last change if a kill came between its event and its file: no other can be missing."""
        event = self.progress.last_change
        if event is None or event.photo is None:
            return
        path = self.files.json_path(event.photo)
        with contextlib.suppress(DamagedError):
            if written_event(path) >= event.number:
                return
        if event.photo not in self.photos:
            raise UserError(
                f"the last change of photo {event.photo} was cut short by a kill, and the photo is not among --images: "
                "start once with it to finish"
            )
        self.files.state(event.photo)

    def _rebuild(self, id: int) -> PhotoState:
        """Return a photo's masks by the events alone."""
        state = PhotoState(photo=self.photos[id])
        for event in read_events(self.events.path):
            if event.photo == id:
                state = state.after(event)
        return state


def open_annotations(
    out: str | Path,
    photos: PhotoList,
    settings: Mapping[str, Any],
    *,
    now: Callable[[], float] = time.time,
) -> AnnotationFolder:
    """Return the annotation folder `out`, new or not, locked against other processes until it is closed.

        photos = open_photos(["photos/*.jpg"], "annotations")
        with open_annotations("annotations", photos, settings={}) as folder:
            folder.commit(photo_id, mask)

    Args:
      photos: made with the same `out`.
      settings: what all masks in the folder must have in common, as JSON. Not what may change from start to start: the
        checkpoint, which each mask names, the mode or the order of the queue.
      now: the time of events, in seconds since 1970.

    Raises:
      UserError: another process has it open; it holds something else, was started with other settings, has lost its
        events or they are damaged; or it cannot be written to.
    """
    folder = local_folder(out)
    read_about(folder)  # before the lock leaves its file in a folder of something else
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock_folder(folder, option="--out"))
        about = read_about(folder)
        if about is not None:
            about.check(settings, folder=folder)
        earlier = about.photos if about else {}
        ids = {**earlier, **{photo.key: photo.id for photo in photos.values()}}
        if not earlier.items() <= ids.items() or len(set(ids.values())) < len(ids):
            raise UserError(f"the photos were listed for another folder than {folder}: list them again")
        fresh = FolderAbout(settings=json.loads(json.dumps(dict(settings))), photos=ids)
        if fresh != about:
            fresh.write(folder)
        opened = AnnotationFolder(folder, photos, now=now, release=stack)
        opened.events.record(Act.START)
        opened._release = stack.pop_all()
        return opened
