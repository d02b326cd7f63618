"""A committed mask as an annotation of SA-1B's JSON, with the extra keys of an annotation folder."""

from typing import Any

from samjax.annotate.mask_checks import MaskShape
from samjax.annotate.mask_request import parse_prompts
from samjax.annotate.photo_list import ListedPhoto
from samjax.annotate.proposal import Proposal, ProposalState
from samjax.annotate.saved_mask import MaskVerdict, SavedMask, Source

_BY_HAND = 1.0
"""SA-1B's reader needs a predicted IoU and a stability score; no model gives any for what a person drew."""


def to_annotation(mask: SavedMask, shape: MaskShape, photo: ListedPhoto) -> dict[str, Any]:
    """Return a mask, with its id and revision, as JSON: SA-1B's keys, then those that other readers ignore."""
    written = {
        "id": mask.id,
        "segmentation": mask.runs,
        "bbox": list(shape.bbox),
        "area": shape.area,
        "predicted_iou": _BY_HAND if mask.predicted_iou is None else float(mask.predicted_iou),
        "stability_score": _BY_HAND if mask.stability_score is None else float(mask.stability_score),
        "crop_box": [0.0, 0.0, float(photo.width), float(photo.height)],
        "point_coords": [list(shape.point)],
        "uuid": mask.uuid,
        "revision": mask.revision,
        "source": mask.source.value,
        "annotator": mask.annotator,
        "seconds": mask.seconds,
        "active_seconds": mask.active_seconds,
        "clicks": mask.clicks,
        "model": mask.model,
        "prompts": mask.prompts.as_json(),
    }
    if mask.verdict is not None:
        written |= {"verdict": mask.verdict.value, "verifier": mask.verifier}
    return written


def from_annotation(annotation: dict[str, Any]) -> SavedMask:
    """Return the mask that `to_annotation` wrote.

    Raises:
      InvalidMaskError, KeyError, TypeError, ValueError: it did not write this.
    """
    model, verdict = annotation["model"], annotation.get("verdict")
    return SavedMask(
        uuid=annotation["uuid"],
        runs=annotation["segmentation"],
        source=Source(annotation["source"]),
        annotator=annotation["annotator"],
        seconds=float(annotation["seconds"]),
        active_seconds=float(annotation["active_seconds"]),
        clicks=annotation["clicks"],
        model=model,
        predicted_iou=None if model is None else annotation["predicted_iou"],
        stability_score=None if model is None else annotation["stability_score"],
        prompts=parse_prompts(annotation["prompts"]),
        revision=annotation["revision"],
        verdict=None if verdict is None else MaskVerdict(verdict),
        verifier=annotation.get("verifier"),
        id=annotation["id"],
    )


def proposal_annotation(proposal: Proposal, photo: ListedPhoto, *, area: int) -> dict[str, Any]:
    """Return a proposal as SA-1B writes a mask; its id is its number."""
    return {
        "id": proposal.number,
        "segmentation": proposal.runs,
        "bbox": list(proposal.bbox),
        "area": area,
        "predicted_iou": proposal.predicted_iou,
        "stability_score": proposal.stability_score,
        "crop_box": [0.0, 0.0, float(photo.width), float(photo.height)],
        "point_coords": [list(proposal.point)],
    }


def read_proposal(annotation: dict[str, Any], *, number: int, state: ProposalState, uuid: str | None) -> Proposal:
    """Return the proposal that an annotation of SA-1B's, such as `samjax generate` writes, is.

    Raises:
      KeyError, TypeError, ValueError: it is none.
    """
    (point,) = annotation["point_coords"]
    x, y, width, height = map(float, annotation["bbox"])
    return Proposal(
        number=number,
        runs=annotation["segmentation"],
        bbox=(x, y, width, height),
        predicted_iou=float(annotation["predicted_iou"]),
        stability_score=float(annotation["stability_score"]),
        point=(float(point[0]), float(point[1])),
        state=state,
        uuid=uuid,
    )
