"""What people do with masks: commit, change, delete, judge. Each is called with the folder's `events.lock` held."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from samjax.annotate.event_log import Act, read_events
from samjax.annotate.mask_annotation import to_annotation
from samjax.annotate.mask_checks import MaskShape, check_uuid
from samjax.annotate.photo_state import PhotoState
from samjax.annotate.refusals import ConflictError, InvalidMaskError, NotAllowedError, UnknownPhotoError
from samjax.annotate.saved_mask import MaskVerdict, SavedMask
from samjax.data.photo_ids import MOST_MASKS, mask_id

if TYPE_CHECKING:
    from samjax.annotate.annotation_folder import AnnotationFolder

_MOST_BYTES = 15 * 2**20
"""Of a photo's masks as JSON: `samjax data prepare` reads no file above 16 MiB."""


def commit_mask(
    folder: "AnnotationFolder", id: int, mask: SavedMask, shape: MaskShape, *, revision: int | None
) -> SavedMask:
    """Add or change a mask of this shape, see `AnnotationFolder.commit`."""
    state = folder.files.state(id)
    stored = state.annotations[mask.uuid].mask if mask.uuid in state.annotations else None
    if stored is None:
        act, fresh = Act.ADD, _new(state, mask, revision)
    elif revision is None or _is_repeated(mask, stored, revision):
        return stored
    elif revision != stored.revision:
        raise _stale(stored, revision)
    else:
        act, fresh = Act.CHANGE, _numbered(mask, id=stored.id, revision=stored.revision + 1)
    if state.size() + len(fresh.runs["counts"]) > _MOST_BYTES:
        raise InvalidMaskError(f"photo {id} has {state.size():,} bytes of masks: it can hold no more like this")
    content = to_annotation(fresh, shape, folder.photos[id])
    spent = {} if mask.effort is None else {"spent": asdict(mask.effort)}
    folder.save(state, act, mask.annotator, mask=content, **spent)
    return fresh


def delete_mask(folder: "AnnotationFolder", id: int, uuid: str, revision: int, *, annotator: str) -> int:
    """Delete a mask, see `AnnotationFolder.delete`."""
    state = folder.files.state(id)
    if tombstone := state.tombstones.get(uuid):  # the request came twice, or another did the same
        return tombstone.revision
    stored = _stored(state, uuid)
    if stored.revision != revision:
        raise _stale(stored, revision)
    folder.save(state, Act.DELETE, annotator, uuid=uuid, revision=revision + 1)
    return revision + 1


def judge_mask(
    folder: "AnnotationFolder", id: int, uuid: str, verdict: MaskVerdict, *, annotator: str
) -> SavedMask | None:
    """Record a verdict, see `AnnotationFolder.judge`."""
    state = folder.files.state(id)
    if verdict is MaskVerdict.NO and uuid in state.tombstones:
        return None
    if verdict is MaskVerdict.OPEN:
        return _withdraw(folder, state, uuid, annotator=annotator)
    stored = _stored(state, uuid)
    if stored.annotator == annotator:
        raise NotAllowedError(f"{annotator} made this mask: another person says whether it is good")
    if (stored.verdict, stored.verifier) == (verdict, annotator):
        return stored
    if verdict is MaskVerdict.NO:
        revision = stored.revision + 1
        folder.save(state, Act.VERDICT, annotator, verdict=verdict.value, uuid=uuid, revision=revision)
        return None
    content = state.annotations[uuid].content | {"verdict": verdict.value, "verifier": annotator}
    state = folder.save(state, Act.VERDICT, annotator, verdict=verdict.value, mask=content)
    return state.annotations[uuid].mask


def _withdraw(folder: "AnnotationFolder", state: PhotoState, uuid: str, *, annotator: str) -> SavedMask:
    """Take a verdict back; a mask that NO deleted is found in the events."""
    tombstone = state.tombstones.get(uuid)
    if tombstone is None:
        stored, content = _stored(state, uuid), state.annotations[uuid].content
        if stored.verdict is None:
            return stored
        verifier = stored.verifier
    else:
        events = [one for one in read_events(folder.events.path) if one.photo == state.photo.id]
        last = next(one for one in reversed(events) if one.details.get("uuid") == uuid)
        if last.act is not Act.VERDICT:
            raise UnknownPhotoError(f"the mask {uuid} of photo {state.photo.id} was deleted, not judged")
        contents = [mask for one in events for mask in one.details.get("masks", [one.details.get("mask")]) if mask]
        content = next(mask for mask in reversed(contents) if mask["uuid"] == uuid)
        content, verifier = content | {"revision": tombstone.revision + 1}, last.annotator
    if verifier != annotator:
        raise NotAllowedError(f"the verdict is {verifier}'s: they take it back, or the mask is changed")
    content = {name: value for name, value in content.items() if name not in ("verdict", "verifier")}
    state = folder.save(state, Act.VERDICT, annotator, verdict=MaskVerdict.OPEN.value, mask=content)
    return state.annotations[uuid].mask


def _new(state: PhotoState, mask: SavedMask, revision: int | None) -> SavedMask:
    """Return a mask that the photo does not have, with an id of its own or the one that it had before."""
    tombstone = state.tombstones.get(mask.uuid)
    if tombstone is not None and tombstone.revision != revision:
        raise ConflictError(
            f"the mask {mask.uuid} is deleted: revision {tombstone.revision} brings it back",
            None,
            deleted=tombstone.revision,
        )
    if tombstone is None and revision is not None:
        raise ConflictError(f"there is no mask {mask.uuid} with revision {revision}: add it without one", None)
    if tombstone is None and state.places >= MOST_MASKS:
        raise InvalidMaskError(f"photo {state.photo.id} has had {state.places:,} masks, and ids for no more")
    if tombstone is not None:
        return _numbered(mask, id=tombstone.id, revision=tombstone.revision + 1)
    return _numbered(mask, id=mask_id(state.photo.id, state.places), revision=1)


def _numbered(mask: SavedMask, *, id: int | None, revision: int) -> SavedMask:
    """Return a mask that is committed: nobody has judged it yet."""
    return replace(mask, id=id, revision=revision, effort=None, verdict=None, verifier=None)


def _is_repeated(mask: SavedMask, stored: SavedMask, revision: int) -> bool:
    """Return whether a change is the one that made the stored mask, sent again."""
    same = (mask.runs, mask.source, mask.annotator) == (stored.runs, stored.source, stored.annotator)
    return revision == stored.revision - 1 and same


def _stored(state: PhotoState, uuid: str) -> SavedMask:
    check_uuid(uuid)
    if uuid not in state.annotations:
        raise UnknownPhotoError(f"photo {state.photo.id} has no mask {uuid}")
    return state.annotations[uuid].mask


def _stale(stored: SavedMask, revision: int) -> ConflictError:
    return ConflictError(
        f"the mask {stored.uuid} has revision {stored.revision}, changed by {stored.annotator}; this was made from "
        f"revision {revision}",
        stored,
    )
