"""What the server does for its pages: the folder, the queue and the model behind plain calls, without HTTP."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from samjax.annotate.annotation_folder import AnnotationFolder
from samjax.annotate.mask_checks import SMALLEST_MASK
from samjax.annotate.mask_request import parse_mask
from samjax.annotate.photo_queue import PhotoQueue
from samjax.annotate.prompt_answer import Candidates
from samjax.annotate.prompt_request import parse_request
from samjax.annotate.prompted_masks import PromptedMasks
from samjax.annotate.proposal import ProposalState, states_as_json
from samjax.annotate.refusals import ConflictError, InvalidMaskError, LostLeaseError
from samjax.annotate.saved_mask import MaskVerdict, SavedMask, model_label
from samjax.annotate.work_figures import work_figures
from samjax.core.errors import UserError

AMBER_SECONDS = 30
"""After so long on one mask the page proposes the next photo (Segment Anything, appendix F.2)."""


class Workplace:
    """Acts of annotators on photos. What needs the disk runs on threads, so that clicks are answered meanwhile."""

    def __init__(
        self, folder: AnnotationFolder, queue: PhotoQueue, masks: PromptedMasks, *, model: dict[str, Any], version: str
    ):
        """Join what there is; `model` is what the session says of the model, with its `name` and `digest`."""
        self.folder, self.queue, self.masks = folder, queue, masks
        self._model, self._version = model, version

    def session(self) -> dict[str, Any]:
        """Return what a page needs to know once."""
        config = self.queue.config
        return {
            "model": self._model,
            "mode": config.mode.value,
            "order": config.order.value,
            "photos": len(self.folder.photos),
            "folder": hashlib.sha256(str(self.folder.path.absolute()).encode()).hexdigest()[:16],
            "settings": {
                "lease_seconds": self.queue.leases.seconds,
                "amber_seconds": AMBER_SECONDS,
                "smallest_mask": SMALLEST_MASK,
            },
            "version": self._version,
        }

    async def next(self, annotator: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Lease the next photo and return it, None if none is left."""
        skip = body.get("skip")
        if skip is not None and type(skip) is not int:
            raise UserError(f"skip is {skip!r:.40}: give a photo's id")
        lease = await asyncio.to_thread(self.queue.next, annotator, skip=skip)
        return None if lease is None else await self._opened(lease.photo, lease.number, annotator)

    async def back(self, annotator: str) -> dict[str, Any] | None:
        """Lease the photo that the annotator had before and return it, None if there is none."""
        lease = await asyncio.to_thread(self.queue.back, annotator)
        return None if lease is None else await self._opened(lease.photo, lease.number, annotator)

    async def _opened(self, photo: int, lease: int, annotator: str) -> dict[str, Any]:
        ahead = self.queue.ahead(annotator)
        self.masks.set_next(annotator, [photo, *ahead])
        listed = self.folder.photos[photo]
        masks = await asyncio.to_thread(self.folder.masks, photo)
        proposals = await asyncio.to_thread(self.folder.proposals, photo)
        return {
            "photo": {"id": photo, "width": listed.width, "height": listed.height, "name": listed.path.name},
            "lease": {"number": lease, "seconds": self.queue.leases.seconds},
            "masks": [mask.as_json() for mask in masks],
            "proposals": [one.as_json() for one in proposals],
            "ahead": ahead,
        }

    async def jpeg(self, photo: int) -> bytes:
        """Return the photo's JPEG."""
        return await asyncio.to_thread(self.folder.jpeg, photo)

    async def predict(self, photo: int, annotator: str, body: dict[str, Any]) -> Candidates:
        """Return the model's candidates for prompts."""
        return await self.masks.predict(photo, parse_request(body, annotator=annotator))

    async def runs(self, photo: int, handle: str) -> dict[str, Any]:
        """Return a candidate's mask at the photo's size."""
        return (await self.masks.exact_mask(handle, photo_id=photo)).runs

    async def put_mask(self, photo: int, uuid: str, annotator: str, body: dict[str, Any]) -> SavedMask:
        """Add a mask, or change it where the body has a revision; it is on disk when this returns."""
        if ("handle" in body) == ("runs" in body):
            raise InvalidMaskError("give the handle of a candidate, or runs")
        revision = body.get("revision")
        model = model_label(self._model["name"], self._model["digest"])
        figures: dict[str, Any] = {}
        if "handle" in body:
            if not isinstance(body["handle"], str):
                raise InvalidMaskError(f"handle is {body['handle']!r:.40}: give text")
            try:
                exact = await self.masks.exact_mask(body["handle"], photo_id=photo)
            except UserError:
                if revision is None and (stored := await self._stored(photo, uuid)) is not None:
                    return stored  # the request is sent again, and its handle is gone
                raise
            runs = exact.runs
            figures = {"model": model, "predicted_iou": exact.iou, "stability_score": exact.stability}
        else:
            runs = body["runs"]
            if isinstance(iou := body.get("predicted_iou"), float | int) and not isinstance(iou, bool):
                # the model's own mask, whose logits the server had no more
                figures = {"model": model, "predicted_iou": float(iou), "stability_score": body.get("stability_score")}
        mask = parse_mask(body, uuid=uuid, annotator=annotator, runs=runs, **figures)
        if revision is not None:
            _check_count("revision", revision)
            await self._renew(photo, body.get("lease"), uuid)
        return await asyncio.to_thread(self.folder.commit, photo, mask, revision=revision)

    async def delete_mask(self, photo: int, uuid: str, annotator: str, *, revision: int, lease: int) -> int:
        """Delete a mask and return the revision with which it can come back."""
        await self._renew(photo, lease, uuid)
        return await asyncio.to_thread(self.folder.delete, photo, uuid, revision, annotator=annotator)

    async def judge(self, photo: int, uuid: str, annotator: str, body: dict[str, Any]) -> SavedMask | None:
        """Record a verdict on a mask; None if that deleted it."""
        known = [verdict.value for verdict in MaskVerdict]
        if (given := body.get("verdict")) not in known:
            raise UserError(f"verdict is {given!r:.40}: give one of {', '.join(known)}")
        await self._renew(photo, body.get("lease"), uuid)
        return await asyncio.to_thread(self.folder.judge, photo, uuid, MaskVerdict(given), annotator=annotator)

    async def set_proposal(self, photo: int, number: int, annotator: str, body: dict[str, Any]) -> dict[str, Any]:
        """Accept, reject or reopen one proposal."""
        known = [state.value for state in ProposalState]
        if (given := body.get("state")) not in known:
            raise UserError(f"state is {given!r:.40}: give one of {', '.join(known)}")
        revision = body.get("revision", 0)
        _check_count("revision", revision)
        if (state := ProposalState(given)) is ProposalState.ACCEPTED:
            return await self._accept(photo, {number: revision}, annotator, body)
        await self._renew(photo, body.get("lease"))
        await asyncio.to_thread(self.folder.set_state, photo, number, state, revision=revision, annotator=annotator)
        return await self._proposals(photo, [])

    async def accept(self, photo: int, annotator: str, body: dict[str, Any]) -> dict[str, Any]:
        """Accept several proposals, in one act."""
        given = body.get("accepted")
        if not isinstance(given, dict) or not all(
            name.isdecimal() and len(name) < 16 and type(revision) is int for name, revision in given.items()
        ):
            raise UserError(f"accepted is {given!r:.40}: give the revision of each proposal by its number")
        return await self._accept(photo, {int(name): revision for name, revision in given.items()}, annotator, body)

    async def _accept(
        self, photo: int, revisions: dict[int, int], annotator: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        await self._renew(photo, body.get("lease"))
        accepted = await asyncio.to_thread(self.folder.accept, photo, revisions, annotator=annotator)
        return await self._proposals(photo, accepted)

    async def _proposals(self, photo: int, accepted: list[SavedMask]) -> dict[str, Any]:
        proposals = await asyncio.to_thread(self.folder.proposals, photo)
        return {"accepted": [mask.as_json() for mask in accepted], "states": states_as_json(proposals)}

    async def alive(self, photo: int, body: dict[str, Any]) -> None:
        """Renew a lease."""
        await self._renew(photo, body.get("lease"))

    async def finish(self, photo: int, body: dict[str, Any]) -> None:
        """Close a photo: a person says that it is done."""
        await self._leave(self.queue.finish, photo, body)

    async def skip(self, photo: int, body: dict[str, Any]) -> None:
        """Pass a photo on to others."""
        await self._leave(self.queue.skip, photo, body)

    async def stats(self) -> dict[str, Any]:
        """Return figures of the work in the folder, and of the server."""
        figures = await asyncio.to_thread(work_figures, self.folder.path)
        encoding = self.masks.status()
        return figures.as_json() | {
            "encoding": {"waiting": encoding.waiting, "ahead": encoding.ahead, "fault": encoding.fault},
            "unreadable": list(self.queue.unreadable.values()),
        }

    async def _leave(self, act: Callable[..., None], photo: int, body: dict[str, Any]) -> None:
        self.folder.photos[photo]
        _check_count("lease", body.get("lease"))
        await asyncio.to_thread(act, photo, lease=body["lease"])

    async def _renew(self, photo: int, lease: Any, uuid: str | None = None) -> None:
        """Renew the lease that an act needs.

        Raises:
          ConflictError: it has been lost, and the act is on the mask `uuid`: as it is now.
          LostLeaseError: it has been lost.
        """
        self.folder.photos[photo]
        _check_count("lease", lease)
        try:
            await asyncio.to_thread(self.queue.leases.renew, photo, lease)
        except LostLeaseError as error:
            if uuid is None:
                raise
            raise ConflictError(str(error), await self._stored(photo, uuid)) from None

    async def _stored(self, photo: int, uuid: str) -> SavedMask | None:
        """Return a mask as it is now, None if there is none."""
        masks = await asyncio.to_thread(self.folder.masks, photo)
        return next((mask for mask in masks if mask.uuid == uuid), None)


def _check_count(name: str, value: Any) -> None:
    if type(value) is not int:
        raise UserError(f"{name} is {value!r:.40}: give an integer")
