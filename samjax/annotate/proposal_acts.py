"""What people do with a model's proposals: accept, reject, reopen."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from samjax.annotate.event_log import Act
from samjax.annotate.mask_annotation import to_annotation
from samjax.annotate.mask_checks import check_annotator, shape_of
from samjax.annotate.proposal import Proposal, ProposalProgress, ProposalState
from samjax.annotate.proposal_files import read_proposals, write_proposals
from samjax.annotate.refusals import (
    ConflictError,
    InvalidMaskError,
    NotAllowedError,
    NotSavedError,
    StaleProposalError,
    UnknownPhotoError,
)
from samjax.annotate.saved_mask import Prompts, SavedMask, Source
from samjax.core.errors import UserError
from samjax.data.photo_ids import mask_id

if TYPE_CHECKING:
    from samjax.annotate.annotation_folder import AnnotationFolder


def place_proposals(folder: "AnnotationFolder", id: int, proposals: Sequence[Proposal], *, model: str) -> None:
    """Store a photo's proposals, see `AnnotationFolder.set_proposals`; call it, and the others, with the lock held."""
    photo, progress = folder.photos[id], folder.progress.photo(id)
    if any(one.state is not ProposalState.OPEN for one in progress.states.values()):
        raise NotAllowedError(f"people have worked on the proposals of photo {id}: they are not replaced")
    if [proposal.number for proposal in proposals] != list(range(len(proposals))):
        raise InvalidMaskError(f"the proposals of photo {id} are not numbered 0, 1, 2, ...")
    try:
        write_proposals(folder.path, photo, proposals, model=model)
    except InvalidMaskError:
        raise
    except (UserError, OSError) as error:
        raise NotSavedError(str(error)) from error
    ious = [proposal.predicted_iou for proposal in proposals]
    folder.events.record(
        Act.PROPOSE, photo=id, count=len(proposals), mean_iou=statistics.fmean(ious) if ious else None, model=model
    )


def accept_proposals(
    folder: "AnnotationFolder", id: int, revisions: Mapping[int, int], *, annotator: str, seconds: float
) -> list[SavedMask]:
    """Make proposals masks in one act, see `AnnotationFolder.accept`."""
    check_annotator(annotator)
    photo, state = folder.photos[id], folder.files.state(id)
    proposals, model = read_proposals(folder.path, photo, folder.progress.photo(id).states)
    chosen = [_numbered(proposals, number, id) for number in revisions]
    existing = [one for one in chosen if _uuid(one) in state.annotations]
    new = [one for one in chosen if _uuid(one) not in state.annotations]
    for proposal in new:
        _check_revision(folder, id, proposal, revisions[proposal.number], proposals)
    contents: list[dict[str, Any]] = []
    places = state.places
    for proposal in new:
        tombstone = state.tombstones.get(_uuid(proposal))
        mask = SavedMask(
            uuid=_uuid(proposal),
            runs=proposal.runs,
            source=Source.PROPOSAL,
            annotator=annotator,
            seconds=seconds / len(new),
            active_seconds=seconds / len(new),
            model=model,
            predicted_iou=proposal.predicted_iou,
            stability_score=proposal.stability_score,
            prompts=Prompts(points=(proposal.point,), labels=(1,)),
            id=tombstone.id if tombstone else mask_id(id, places),
            revision=(tombstone.revision if tombstone else 0) + 1,
        )
        places += tombstone is None
        contents.append(to_annotation(mask, shape_of(mask.runs, photo, prompts=mask.prompts), photo))
    if new:
        state = folder.save(state, Act.ACCEPT, annotator, masks=contents, numbers=[one.number for one in new])
    for one in existing:
        if revisions[one.number] == one.revision:
            _confirm(folder, id, one, annotator=annotator)
    return [state.annotations[_uuid(one)].mask for one in chosen]


def set_proposal_state(
    folder: "AnnotationFolder", id: int, number: int, state: ProposalState, *, revision: int, annotator: str
) -> Proposal:
    """Set what a person did with a proposal, see `AnnotationFolder.set_state`."""
    check_annotator(annotator)
    proposals, _ = read_proposals(folder.path, folder.photos[id], folder.progress.photo(id).states)
    proposal = _numbered(proposals, number, id)
    if state is ProposalState.ACCEPTED:
        accept_proposals(folder, id, {number: revision}, annotator=annotator, seconds=0.0)
    elif not _is_repeated(_progress(folder, id, number), state, revision, annotator):
        _check_revision(folder, id, proposal, revision, proposals)
        _leave_accepted(folder, id, proposal, state, annotator=annotator)
    now = _progress(folder, id, number)
    return replace(proposal, state=now.state, revision=now.revision)


def _leave_accepted(
    folder: "AnnotationFolder", id: int, proposal: Proposal, state: ProposalState, *, annotator: str
) -> None:
    """Set another state than ACCEPTED; the mask that accepting it made is deleted, but for CHANGED."""
    photo_state = folder.files.state(id)
    details: dict[str, Any] = {"proposal": proposal.number, "state": state.value}
    annotation = photo_state.annotations.get(_uuid(proposal))
    if annotation is None or state is ProposalState.CHANGED:
        folder.events.record(Act.STATE, photo=id, annotator=annotator, **details)
        return
    mask = annotation.mask
    if mask.source is not Source.PROPOSAL:
        raise ConflictError(f"the mask of proposal {proposal.number} has been changed by {mask.annotator}", mask)
    folder.save(photo_state, Act.STATE, annotator, **details, uuid=mask.uuid, revision=mask.revision + 1)


def _confirm(folder: "AnnotationFolder", id: int, proposal: Proposal, *, annotator: str) -> None:
    """Set the state that a proposal has: what was sent before this, and comes after it, is then refused."""
    folder.events.record(Act.STATE, photo=id, annotator=annotator, proposal=proposal.number, state=proposal.state.value)


def _is_repeated(now: ProposalProgress, state: ProposalState, revision: int, annotator: str) -> bool:
    """Return whether a request is the one that set the present state, sent again."""
    return (revision, state, annotator) == (now.revision - 1, now.state, now.annotator)


def _check_revision(
    folder: "AnnotationFolder", id: int, proposal: Proposal, revision: int, proposals: Sequence[Proposal]
) -> None:
    if revision != proposal.revision:
        annotator = _progress(folder, id, proposal.number).annotator
        raise StaleProposalError(
            f"proposal {proposal.number} of photo {id} is {proposal.state.value} at revision {proposal.revision}"
            f"{f', set by {annotator}' if annotator else ''}; this was made from revision {revision}",
            proposals,
        )


def _progress(folder: "AnnotationFolder", id: int, number: int) -> ProposalProgress:
    return folder.progress.photo(id).states.get(number, ProposalProgress())


def _uuid(proposal: Proposal) -> str:
    """Return the UUID of the mask that a stored proposal becomes."""
    assert proposal.uuid is not None
    return proposal.uuid


def _numbered(proposals: Sequence[Proposal], number: int, id: int) -> Proposal:
    if type(number) is not int or not 0 <= number < len(proposals):
        raise UnknownPhotoError(f"photo {id} has no proposal {number!r}: it has {len(proposals):,}")
    return proposals[number]
