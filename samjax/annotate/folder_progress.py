"""How far the work is: what of each photo has been done, by whom, and who has which photo; made of events alone."""

from dataclasses import dataclass, field
from typing import Any

from samjax.annotate.event_log import Act, Event
from samjax.annotate.proposal import ProposalProgress, ProposalState
from samjax.annotate.saved_mask import MaskVerdict


@dataclass(kw_only=True)
class MaskProgress:
    """What the queue must know of a mask."""

    annotator: str
    verdict: MaskVerdict | None = None


@dataclass(kw_only=True)
class PhotoProgress:
    """What the queue must know of a photo."""

    masks: dict[str, MaskProgress] = field(default_factory=dict)
    """By UUID, deleted ones excluded."""
    event: int = 0
    """Number of the last event that changed the photo's JSON."""
    is_done: bool = False
    judges: set[str] = field(default_factory=set)
    """Who has gone through the masks and said so in the mode VERIFY, since there was last something new for them."""
    is_imported: bool = False
    """Whether it has got the masks of another folder."""
    proposals: int = 0
    certainty: float | None = None
    """Mean predicted IoU of the proposals."""
    states: dict[int, ProposalProgress] = field(default_factory=dict)
    """Of proposals that somebody has touched, by number."""

    @property
    def open_proposals(self) -> int:
        """How many proposals nobody has accepted, rejected or changed."""
        return self.proposals - sum(one.state is not ProposalState.OPEN for one in self.states.values())


@dataclass(kw_only=True)
class FolderProgress:
    """The state of all photos after some events. `update` is all that changes it, so that a replay gives the same."""

    photos: dict[int, PhotoProgress] = field(default_factory=dict)
    leases: dict[int, tuple[int, str]] = field(default_factory=dict)
    """By photo, the number and the annotator of a lease that no event has ended."""
    trails: dict[str, list[int]] = field(default_factory=dict)
    """By annotator, the photos that they got, each once, the last one last."""
    skips: dict[str, set[int]] = field(default_factory=dict)
    """By annotator, the photos that they have passed on since the server started."""
    last_change: Event | None = None
    """The last event that changed a photo's JSON."""

    def photo(self, id: int) -> PhotoProgress:
        """Return the progress of a photo, an empty one if there is none yet."""
        return self.photos.get(id) or PhotoProgress()

    def update(self, event: Event) -> None:
        """Take an event in."""
        if event.act is Act.START:
            self.skips.clear()
            for photo in self.photos.values():
                photo.judges.clear()
        if event.photo is None:
            return
        photo = self.photos.setdefault(event.photo, PhotoProgress())
        if event.changes_photo:
            self.last_change, photo.event = event, event.number
        self._update_leases(event, event.photo)
        _update_masks(photo, event)
        if event.act is Act.DONE:
            photo.is_done = True
        elif event.act is Act.IMPORT:
            photo.is_imported = True
        elif event.act is Act.PROPOSE:
            photo.proposals, photo.certainty = event.details["count"], event.details["mean_iou"]
            # A late request for one of the earlier proposals must not meet its successor.
            photo.states = {number: ProposalProgress(revision=one.revision + 1) for number, one in photo.states.items()}

    def _update_leases(self, event: Event, id: int) -> None:
        annotator = event.annotator or ""
        if event.act is Act.LEASE:
            self.leases[id] = (event.details.get("lease", event.number), annotator)
            trail = self.trails.setdefault(annotator, [])
            if event.details.get("trail", True):
                if id in trail:
                    trail.remove(id)
                trail.append(id)
        elif event.act in (Act.RELEASE, Act.EXPIRE):
            self.leases.pop(id, None)
        elif event.act is Act.SKIP and event.details.get("judged"):
            self.photos[id].judges.add(annotator)
        elif event.act is Act.SKIP:
            self.skips.setdefault(annotator, set()).add(id)


def _update_masks(photo: PhotoProgress, event: Event) -> None:
    details: Any = event.details
    masks = [details["mask"]] if "mask" in details else details.get("masks", ())
    for mask in masks:
        verdict = MaskVerdict(mask["verdict"]) if "verdict" in mask else None
        photo.masks[mask["uuid"]] = MaskProgress(annotator=mask["annotator"], verdict=verdict)
        if verdict is not MaskVerdict.YES:  # others judge it, or redo it
            photo.judges &= {event.annotator or ""}
    if "uuid" in details:
        photo.masks.pop(details["uuid"], None)
    if event.act is Act.ACCEPT:
        for number, mask in zip(details["numbers"], masks, strict=True):
            _set_state(photo, number, ProposalState.ACCEPTED, event, uuid=mask["uuid"])
    elif event.act is Act.STATE:
        number, state = details["proposal"], ProposalState(details["state"])
        kept = None if state is ProposalState.OPEN else photo.states.get(number, ProposalProgress()).uuid
        _set_state(photo, number, state, event, uuid=kept)
    else:
        _follow_masks(photo, event, new={mask["uuid"] for mask in masks}, deleted=details.get("uuid"))
    if event.act is Act.VERDICT and details["verdict"] == MaskVerdict.REDO.value:
        photo.is_done = False


def _follow_masks(photo: PhotoProgress, event: Event, *, new: set[str], deleted: str | None) -> None:
    """A proposal whose mask is deleted is rejected; one whose mask comes back is accepted again."""
    for number, one in photo.states.items():
        if one.state is ProposalState.REJECTED and one.uuid in new:
            _set_state(photo, number, ProposalState.ACCEPTED, event, uuid=one.uuid)
        elif one.state is ProposalState.ACCEPTED and one.uuid == deleted:
            _set_state(photo, number, ProposalState.REJECTED, event, uuid=one.uuid)


def _set_state(photo: PhotoProgress, number: int, state: ProposalState, event: Event, *, uuid: str | None) -> None:
    before = photo.states.get(number, ProposalProgress())
    photo.states[number] = ProposalProgress(
        state=state, uuid=uuid, revision=before.revision + 1, annotator=event.annotator
    )
