"""Masks that another folder has in SA-1B's layout, brought into an annotation folder for people to judge and correct.

They keep their `uuid`, so that `samjax annotate agreement` finds each one again; the other folder stays as it is.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from samjax.annotate.annotation_folder import AnnotationFolder
from samjax.annotate.event_log import Act
from samjax.annotate.mask_annotation import from_annotation, read_proposal
from samjax.annotate.mask_checks import check_annotator, check_uuid
from samjax.annotate.photo_list import ListedPhoto, PhotoList, open_photos
from samjax.annotate.photo_state import PhotoState
from samjax.annotate.proposal import ProposalState
from samjax.annotate.saved_mask import Prompts, Source
from samjax.core.errors import UserError
from samjax.data.annotations.annotation_json import read_json
from samjax.data.masks.mask_uuid import generated_uuid
from samjax.data.masks.rle import parse_runs
from samjax.data.photo_ids import MOST_MASKS, mask_id
from samjax.data.photo_parts import ABOUT, part_folders

MODEL = "model"
"""The annotator of masks that no person made."""
_COPIED = ("bbox", "area", "predicted_iou", "stability_score", "crop_box", "point_coords")


def open_photos_with_masks(folder: str | Path, out: str | Path) -> PhotoList:
    """Return the photos of a folder in SA-1B's layout, for an annotation folder `out`.

    Raises:
      UserError: it holds none, or parts of `samjax generate`; or as `open_photos`.
    """
    folder = Path(folder).expanduser()
    if part_folders(folder):
        raise UserError(f"--masks {folder} holds parts of samjax generate: draw photos with samjax annotate sample")
    if not any(path.with_suffix(".jpg").exists() for path in folder.glob("sa_*.json")):
        raise UserError(
            f"--masks {folder} holds no sa_<id>.jpg with its JSON: give what samjax annotate sample or samjax generate "
            "wrote"
        )
    if Path(out).resolve() == folder.resolve():
        raise UserError(f"--masks and --out are both {folder}: give another --out, to compare with what is there now")
    return open_photos([str(folder / "sa_*.jpg")], out)


def import_masks(folder: AnnotationFolder, *, watch: Callable[[], None] = lambda: None) -> int:
    """Bring in the masks that lie beside each photo of `folder`, each photo's once; return how many are new.

    Masks of people keep their annotator; others are the annotator's `MODEL`. Verdicts are not taken over. `watch` is
    called after each photo.

    Raises:
      NotSavedError: the disk is full or fails. The same call goes on later.
      UserError: a photo has no JSON, or a damaged one.
    """
    count = 0
    for photo in folder.photos.values():
        if not folder.progress.photo(photo.id).is_imported:
            path = photo.path.with_suffix(".json")
            with folder.events.lock:
                state = folder.files.state(photo.id)
                masks = _read(path, photo, state)
                folder.save(state, Act.IMPORT, MODEL, masks=masks, path=str(path))
            count += len(masks)
        watch()
    return count


def _read(path: Path, photo: ListedPhoto, state: PhotoState) -> list[dict[str, Any]]:
    """Return the annotations in a JSON as an annotation folder has them, but for those that the photo has or had.

    Raises:
      UserError: it cannot be read, or is not of this photo.
    """
    content, model = read_json(path), _model(path.parent)
    try:
        image, annotations = content["image"], content["annotations"]
        if f"sa_{image['image_id']}" != path.stem or (image["width"], image["height"]) != (photo.width, photo.height):
            raise ValueError("it is of another photo, or of another size")
        if state.places + len(annotations) > MOST_MASKS:
            raise ValueError(f"it has {len(annotations):,} masks")
        masks = {
            made["uuid"]: made
            for place, one in enumerate(annotations)
            if (made := _imported(one, photo, number=image["image_id"], place=place, model=model))
        }
        if len(masks) < len(annotations):
            raise ValueError("it has two masks of one uuid")
        new = [made for uuid, made in masks.items() if uuid not in state.annotations and uuid not in state.tombstones]
        return [{"id": mask_id(photo.id, state.places + place), **made} for place, made in enumerate(new)]
    except (ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}): restore it") from error


def _imported(one: dict[str, Any], photo: ListedPhoto, *, number: int, place: int, model: str) -> dict[str, Any]:
    """Return an annotation without its id, which nobody has judged here; `number` is the photo's id there."""
    proposal = read_proposal(one, number=place, state=ProposalState.OPEN, uuid=None)
    if proposal.runs.keys() != {"size", "counts"} or proposal.runs["size"] != [photo.height, photo.width]:
        raise ValueError(f"the segmentation of annotation {place} is not of the photo's size")
    if type(one["area"]) is not int:
        raise ValueError(f"annotation {place} has no area")
    parse_runs(proposal.runs["counts"], height=photo.height, width=photo.width)
    made = {
        "segmentation": proposal.runs,
        **{name: one[name] for name in _COPIED},
        "uuid": one.get("uuid") or generated_uuid(number, place, proposal.runs["counts"]),
        "revision": 1,
        "source": one.get("source", Source.PROPOSAL.value),
        "annotator": one.get("annotator", MODEL),
        "seconds": one.get("seconds", 0.0),
        "active_seconds": one.get("active_seconds", 0.0),
        "clicks": one.get("clicks", 0),
        "model": one.get("model", model),
        "prompts": one.get("prompts") or Prompts(points=(proposal.point,), labels=(1,)).as_json(),
        "imported": True,
    }
    mask = from_annotation({"id": 0, **made})
    check_uuid(mask.uuid)
    check_annotator(mask.annotator)
    return made


def _model(folder: Path) -> str:
    """Return the checkpoint that made the masks of a folder, as far as it says so."""
    for name in ("sample.json", ABOUT):
        try:
            return str(json.loads((folder / name).read_text())["checkpoint"])
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return "unknown"
