"""`annotate/proposals/<id>.json`: the masks that a model proposes for each photo, as SA-1B writes masks.

Their states are not in these files: events say what people did with them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from samjax.annotate.folder_about import INSIDE
from samjax.annotate.mask_annotation import proposal_annotation, read_proposal
from samjax.annotate.mask_checks import shape_of
from samjax.annotate.photo_list import ListedPhoto
from samjax.annotate.proposal import Proposal, ProposalProgress, ProposalState
from samjax.core.errors import UserError
from samjax.core.files import write_whole
from samjax.data.masks.mask_uuid import generated_uuid


def proposal_file(folder: Path, id: int) -> Path:
    """Return where the proposals of a photo are."""
    return folder / INSIDE / "proposals" / f"{id}.json"


def write_proposals(folder: Path, photo: ListedPhoto, proposals: Sequence[Proposal], *, model: str) -> None:
    """Write the proposals of a photo; `model` is the checkpoint that made them.

    Raises:
      InvalidMaskError: one is no mask of the photo.
      UserError: they cannot be written.
    """
    shapes = [shape_of(proposal.runs, photo) for proposal in proposals]
    image = {"image_id": photo.id, "width": photo.width, "height": photo.height, "file_name": f"sa_{photo.id}.jpg"}
    annotations = [
        proposal_annotation(proposal, photo, area=shape.area) for proposal, shape in zip(proposals, shapes, strict=True)
    ]
    path = proposal_file(folder, photo.id)
    content = {"model": model, "image": image, "annotations": annotations}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, separators=(",", ":"), allow_nan=False))


def read_proposals(
    folder: Path, photo: ListedPhoto, states: Mapping[int, ProposalProgress]
) -> tuple[list[Proposal], str]:
    """Return the proposals of a photo with their states, and the model that made them; none if there is no file.

    `states` are of those that people have touched, by number.

    Raises:
      UserError: the file is damaged, or of a photo of another size.
    """
    path = proposal_file(folder, photo.id)
    try:
        content = json.loads(path.read_bytes())
        image = content["image"]
        proposals = proposals_of(content["annotations"])
        size, model = (image["width"], image["height"]), str(content["model"])
    except FileNotFoundError:
        return [], ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}): remove it and propose again") from error
    if size != (photo.width, photo.height):
        raise UserError(f"{path} is of a photo of {size[0]} x {size[1]}, not {photo.width} x {photo.height}: remove it")
    found = []
    for one in proposals:
        now, uuid = states.get(one.number, ProposalProgress()), generated_uuid(photo.id, one.number, one.runs["counts"])
        found.append(replace(one, state=now.state, revision=now.revision, uuid=uuid))
    return found, model


def proposals_of(annotations: Sequence[dict[str, Any]]) -> list[Proposal]:
    """Return SA-1B's annotations, such as those of a folder of `samjax generate`, as proposals that nobody touched.

    Raises:
      KeyError, TypeError, ValueError: one is no such annotation.
    """
    return [
        read_proposal(one, number=number, state=ProposalState.OPEN, uuid=None) for number, one in enumerate(annotations)
    ]
