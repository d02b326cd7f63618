"""Proposals: accepted one by one or many at once, rejected, reopened; and events say what the states are."""

import json
from dataclasses import replace

import pytest
from helpers.annotators import agree, open_folder, rectangle, some_mask, some_proposals

from samjax.annotate.annotation_folder import EVENTS, open_annotations
from samjax.annotate.proposal import ProposalState
from samjax.annotate.proposal_files import proposal_file, proposals_of
from samjax.annotate.refusals import (
    ConflictError,
    InvalidMaskError,
    NotAllowedError,
    StaleProposalError,
    UnknownPhotoError,
)
from samjax.annotate.saved_mask import MaskVerdict, Source
from samjax.core.errors import UserError
from samjax.data.masks.mask_uuid import generated_uuid
from samjax.scores.mask_agreement import compare_masks

OPEN, ACCEPTED, REJECTED, CHANGED = ProposalState


@pytest.fixture
def folder(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.set_proposals(0, some_proposals(0.9, 0.8, 0.7), model="vit_b")
        yield folder


def states(folder) -> list[ProposalState]:
    return [proposal.state for proposal in folder.proposals(0)]


def test_proposals_are_read_as_they_were_stored_and_make_no_pair(folder):
    assert [replace(one, uuid=None) for one in folder.proposals(0)] == some_proposals(0.9, 0.8, 0.7)
    assert folder.proposals(1) == []
    assert not list(folder.path.glob("sa_*"))
    (shown, *_) = [proposal.as_json() for proposal in folder.proposals(0)]
    assert shown.pop("uuid") == generated_uuid(0, 0, shown["runs"]["counts"])
    assert shown | {"runs": None} == {
        "number": 0,
        "runs": None,
        "predicted_iou": 0.9,
        "stability_score": 0.9,
        "state": "open",
        "revision": 0,
        "bbox": [0, 0, 5, 4],
    }


def test_accepting_commits_masks_and_again_adds_nothing(folder):
    first = folder.accept(0, {2: 0}, annotator="ann", seconds=4.0)
    both = folder.accept(0, {0: 0, 2: 0}, annotator="bob", seconds=3.0)
    assert [mask.annotator for mask in both] == ["bob", "ann"]
    assert [mask.seconds for mask in both] == [3.0, 4.0]
    assert folder.accept(0, {0: 0, 2: 0}, annotator="eve") == both
    assert folder.masks(0) == [first[0], both[0]]
    assert [(mask.source, mask.model, mask.predicted_iou, mask.revision) for mask in both] == [
        (Source.PROPOSAL, "vit_b", 0.9, 1),
        (Source.PROPOSAL, "vit_b", 0.7, 1),
    ]
    assert both[0].prompts.points == ((3.0, 3.0),)
    assert states(folder) == [ACCEPTED, OPEN, ACCEPTED]
    folder.close()
    with open_annotations(folder.path, folder.photos, {}) as again:
        assert states(again) == [ACCEPTED, OPEN, ACCEPTED]
        assert again.accept(0, {0: 0, 2: 0}, annotator="eve") == both
        assert agree(again)


@pytest.mark.parametrize("state", [REJECTED, OPEN])
def test_taking_acceptance_back_deletes_the_mask(folder, state):
    (mask,) = folder.accept(0, {1: 0}, annotator="ann")
    assert folder.set_state(0, 1, state, revision=1, annotator="ann").state is state
    assert folder.masks(0) == []
    assert states(folder) == [OPEN, state, OPEN]
    (back,) = folder.accept(0, {1: 2}, annotator="ann")
    assert (back.uuid, back.id, back.revision) == (mask.uuid, mask.id, 3)
    assert agree(folder)


def test_a_late_repetition_is_answered_as_the_first_or_refused_and_changes_nothing(folder):
    """Whatever was sent before, in any order of arrival: only what was made from the present state is done."""
    sent = []

    def ask(state, revision, annotator="ann"):
        sent.append((state, revision, annotator))
        return folder.set_state(0, 1, state, revision=revision, annotator=annotator)

    uuid = folder.proposals(0)[1].uuid
    wanted = (ACCEPTED, REJECTED, ACCEPTED, OPEN, REJECTED, OPEN, CHANGED, OPEN, ACCEPTED, REJECTED)
    for revision, state in enumerate(wanted):
        found = ask(state, revision)
        assert (found.state, found.revision) == (state, revision + 1)
        for late in sent:
            before = folder.proposals(0), folder.masks(0), (folder.path / EVENTS).read_bytes()
            if late == sent[-1] or late[0] is state is ACCEPTED:
                assert folder.set_state(0, 1, late[0], revision=late[1], annotator=late[2]) == found
            else:
                with pytest.raises(StaleProposalError) as refused:
                    folder.set_state(0, 1, late[0], revision=late[1], annotator=late[2])
                assert refused.value.proposals == before[0]
            assert (folder.proposals(0), folder.masks(0), (folder.path / EVENTS).read_bytes()) == before
        assert [mask.uuid for mask in folder.masks(0)] == ([uuid] if state is ACCEPTED else [])
    with pytest.raises(
        StaleProposalError, match="is rejected at revision 10, set by ann; this was made from revision 9"
    ):
        folder.set_state(0, 1, REJECTED, revision=9, annotator="bob")
    with pytest.raises(StaleProposalError, match="is open at revision 0; this was made from revision 3"):
        folder.accept(0, {0: 0, 2: 3}, annotator="ann")
    assert folder.masks(0) == []
    folder.close()
    with open_annotations(folder.path, folder.photos, {}) as again:
        assert [one.revision for one in again.proposals(0)] == [0, 10, 0]
        assert agree(again)


@pytest.mark.parametrize("state", [OPEN, REJECTED, ACCEPTED, CHANGED])
def test_what_was_sent_before_and_comes_after_is_refused(folder, state):
    """An annotator sends an act, takes it back while no answer comes, and only then the first one arrives."""
    revision = 0 if state is OPEN else folder.set_state(0, 1, state, revision=0, annotator="ann").revision
    assert folder.set_state(0, 1, state, revision=revision, annotator="ann").revision == revision + 1
    before = folder.proposals(0), folder.masks(0)
    for late in ProposalState:
        if late is not state:
            with pytest.raises(StaleProposalError):
                folder.set_state(0, 1, late, revision=revision, annotator="ann")
    assert (folder.proposals(0), folder.masks(0)) == before
    assert agree(folder)


def test_a_late_acceptance_does_not_accept_the_proposal_that_has_taken_the_place(folder):
    folder.accept(0, {1: 0}, annotator="ann")
    folder.set_state(0, 1, OPEN, revision=1, annotator="ann")
    folder.set_proposals(0, some_proposals(0.5, 0.4), model="vit_l")
    with pytest.raises(StaleProposalError):
        folder.accept(0, {1: 0}, annotator="ann")
    assert folder.masks(0) == []


def test_a_proposal_goes_with_its_mask(folder):
    """Deleting the mask rejects it; undoing that accepts it again."""
    (mask,) = folder.accept(0, {1: 0}, annotator="ann")
    revision = folder.delete(0, mask.uuid, 1, annotator="ann")
    assert states(folder) == [OPEN, REJECTED, OPEN]
    folder.commit(0, mask, revision=revision)
    assert states(folder) == [OPEN, ACCEPTED, OPEN]
    folder.judge(0, mask.uuid, MaskVerdict.NO, annotator="bob")
    with pytest.raises(StaleProposalError):
        folder.accept(0, {1: 0}, annotator="ann")
    assert (states(folder), folder.masks(0)) == ([OPEN, REJECTED, OPEN], [])


def test_a_mask_that_a_person_changed_is_not_taken_back_with_its_proposal(folder):
    (mask,) = folder.accept(0, {1: 0}, annotator="ann")
    changed = folder.commit(0, some_mask(uuid=mask.uuid, source=Source.CHANGED, place=3), revision=1)
    with pytest.raises(ConflictError, match="has been changed by ann") as conflict:
        folder.set_state(0, 1, REJECTED, revision=1, annotator="bob")
    assert conflict.value.stored == changed
    folder.set_state(0, 1, CHANGED, revision=1, annotator="ann")
    assert folder.masks(0) == [changed]
    assert states(folder) == [OPEN, CHANGED, OPEN]


def test_a_changed_proposal_is_the_mask_that_accepting_it_would_have_made(folder):
    """So it is compared with what the model proposed; and accepting it later does not undo the change."""
    proposal = folder.proposals(0)[1]
    folder.set_state(0, 1, CHANGED, revision=0, annotator="ann")
    changed = folder.commit(0, some_mask(uuid=proposal.uuid, source=Source.CHANGED, place=41 + 12))
    before = json.loads(proposal_file(folder.path, 0).read_text())["annotations"]
    after = json.loads((folder.path / "sa_0.json").read_text())["annotations"]
    found = compare_masks(before, after, photo=0)
    assert (list(found.ious), found.deletions, found.additions) == ([pytest.approx(25 / 35)], 2, 0)
    assert folder.accept(0, {1: 0}, annotator="bob") == [changed]
    assert states(folder) == [OPEN, CHANGED, OPEN]
    revision = folder.delete(0, changed.uuid, 1, annotator="ann")
    folder.set_state(0, 1, OPEN, revision=1, annotator="ann")
    (mask,) = folder.accept(0, {1: 2}, annotator="ann")
    assert (mask.uuid, mask.source, mask.revision) == (changed.uuid, Source.PROPOSAL, revision + 1)
    assert agree(folder)


def test_states_alone_make_no_pair(folder):
    folder.set_state(0, 1, REJECTED, revision=0, annotator="ann")
    folder.close()
    with open_annotations(folder.path, folder.photos, {}) as again:
        assert states(again) == [OPEN, REJECTED, OPEN]
        assert not list(again.path.glob("sa_*"))


def test_proposals_are_replaced_until_somebody_has_worked_on_them(folder):
    folder.set_proposals(0, some_proposals(0.5), model="vit_l")
    assert [replace(one, uuid=None) for one in folder.proposals(0)] == some_proposals(0.5)
    folder.set_state(0, 0, REJECTED, revision=0, annotator="ann")
    with pytest.raises(NotAllowedError, match="people have worked on the proposals of photo 0"):
        folder.set_proposals(0, some_proposals(0.9), model="vit_l")
    assert folder.proposals(0)[0].predicted_iou == 0.5


def test_masks_of_sa1b_are_proposals(folder):
    """Such as a folder of `samjax generate` holds."""
    folder.accept(0, {0: 0, 1: 0}, annotator="ann")
    annotations = json.loads((folder.path / "sa_0.json").read_text())["annotations"]
    folder.set_proposals(1, proposals_of(annotations), model="vit_b")
    assert [proposal.runs for proposal in folder.proposals(1)] == [rectangle(40), rectangle(41)]


def test_what_is_no_proposal_is_one_sentence(folder):
    for number in (-1, 3):
        with pytest.raises(UnknownPhotoError, match="has no proposal"):
            folder.accept(0, {0: 0, number: 0}, annotator="ann")
    assert folder.masks(0) == []
    with pytest.raises(UnknownPhotoError, match="it has 0"):
        folder.set_state(1, 0, REJECTED, revision=0, annotator="ann")
    with pytest.raises(InvalidMaskError, match="not numbered 0, 1, 2"):
        folder.set_proposals(1, some_proposals(0.9, 0.8)[1:], model="vit_b")
    (one,) = some_proposals(0.9)
    object.__setattr__(one, "runs", {"size": [24, 32], "counts": "0P1"})
    with pytest.raises(InvalidMaskError, match="cover 32 pixels"):
        folder.set_proposals(1, [one], model="vit_b")
    assert not proposal_file(folder.path, 1).exists()
    proposal_file(folder.path, 0).write_text('{"annotations": [{}]}')
    with pytest.raises(UserError, match=r"0\.json is damaged .*: remove it and propose again"):
        folder.proposals(0)
