"""The folder that people's masks go to: SA-1B's layout, so that training reads it, from the first mask on."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from samjax.annotate.event_log import EventLog
from samjax.annotate.photo_list import PhotoList
from samjax.annotate.proposal import Proposal, ProposalState
from samjax.annotate.saved_mask import MaskVerdict, SavedMask


class AnnotationFolder:
    """Masks of photos by the photo's id. Every change is on disk when the call returns. Safe with several threads."""

    path: Path
    photos: PhotoList
    events: EventLog

    def masks(self, id: int) -> list[SavedMask]:
        """Return the photo's masks, in the order of their first commits.

        Raises:
          UnknownPhotoError: there is no such photo.
        """
        raise NotImplementedError

    def jpeg(self, id: int) -> bytes:
        """Return the photo's JPEG: the stored one if it has masks, else the one that will be stored."""
        raise NotImplementedError

    def commit(self, id: int, mask: SavedMask, *, revision: int | None = None) -> SavedMask:
        """Add a mask if its UUID is new; with the `revision` that the annotator saw, change it.

        Adding is never refused for who asks or when: a UUID that is there already adds nothing and returns what is
        stored. A deleted mask comes back, with its id: this is how a delete is undone.

        Raises:
          ConflictError: `revision` is not the current one.
          InvalidMaskError: it is no mask of this photo.
          NotSavedError: the disk is full or fails; nothing is changed.
          UnknownPhotoError: there is no such photo.
        """
        raise NotImplementedError

    def delete(self, id: int, uuid: str, revision: int, *, annotator: str) -> int:
        """Delete a mask, and return the revision with which a commit brings it back.

        Raises:
          ConflictError: `revision` is not the current one.
          NotSavedError: the disk is full or fails; nothing is changed.
          UnknownPhotoError: there is no such photo or mask.
        """
        raise NotImplementedError

    def judge(self, id: int, uuid: str, verdict: MaskVerdict, *, annotator: str) -> SavedMask | None:
        """Record another person's verdict on a mask; None if that deleted it."""
        raise NotImplementedError

    def proposals(self, id: int) -> list[Proposal]:
        """Return the model's masks of the photo with their states, none if it has none."""
        raise NotImplementedError

    def set_proposals(self, id: int, proposals: Sequence[Proposal], *, model: str) -> None:
        """Store the model's masks of a photo, in place of earlier ones that nobody has touched."""
        raise NotImplementedError

    def accept(self, id: int, numbers: Iterable[int], *, annotator: str, seconds: float = 0.0) -> list[SavedMask]:
        """Make proposals masks, in one act; those accepted before stay as they are. Returns the masks of all."""
        raise NotImplementedError

    def set_state(self, id: int, number: int, state: ProposalState, *, annotator: str) -> Proposal:
        """Set what a person did with a proposal; rejecting or reopening an accepted one deletes its mask."""
        raise NotImplementedError

    def close_photo(self, id: int, *, annotator: str) -> None:
        """Record that a person says the photo is done; without a mask it gets a JSON without annotations."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the files and let other processes in."""
        raise NotImplementedError

    def __enter__(self) -> "AnnotationFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_annotations(
    out: str | Path,
    photos: PhotoList,
    settings: Mapping[str, Any],
    *,
    now: Callable[[], float] = time.time,
) -> AnnotationFolder:
    """Return the annotation folder `out`, new or not, locked against other processes until it is closed.

    Args:
      photos: made with the same `out`.
      settings: what all masks in the folder must have in common, as JSON. Not what may change from start to start: the
        checkpoint, which each mask names, the mode or the order of the queue.
      now: the time of events, in seconds since 1970.

    Raises:
      UserError: another process has it open; it holds something else, was started with other settings, has lost its
        events, has masks of a photo whose size has changed, or cannot be written to.
    """
    raise NotImplementedError
