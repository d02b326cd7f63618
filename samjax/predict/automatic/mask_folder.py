"""A folder of photos with generated masks, laid out as SA-1B: what training reads."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from samjax.core.errors import UserError
from samjax.core.files import tell_write_errors, write_png, write_whole
from samjax.core.folder import check_request, lock_folder, read_request
from samjax.data.photo_ids import assign_ids, mask_id
from samjax.data.photo_parts import ABOUT, REPORT, ListDigest, Part, check_same_list, part_folders
from samjax.data.upright_jpeg import upright_jpeg
from samjax.predict.automatic.generated_mask import GeneratedMask
from samjax.predict.automatic.generator_config import GeneratorConfig


@runtime_checkable
class HasKey(Protocol):
    """A photo that has a key."""

    @property
    def key(self) -> str:
        """What tells it from all others."""
        ...


P = TypeVar("P", bound=HasKey)


class MaskFolder:
    """Photos `sa_<id>.jpg` with `sa_<id>.json` beside them, the JSON written last: a photo that has it is done.

    Beside them lies `generate.json`: what the masks were made with, and the id of each photo by its key, or of which
    list of photos it is a part. Photos are named by their keys: an absolute path, or what else tells one from all
    others. A photo called `sa_<number>` or `<number>` keeps its number, if that is free; another gets one made of its
    name.
    """

    def __init__(self, path: str | Path, *, settings: dict[str, Any], ids: dict[str, int]):
        self.path = Path(path)
        self.settings, self._ids = settings, ids

    def missing(self, photos: Sequence[P]) -> list[P]:
        """Return those of `photos` whose masks are not there."""
        with os.scandir(self.path) as entries:
            done = {entry.name for entry in entries if entry.name.endswith(".json")}
        return [photo for photo in photos if f"sa_{self._ids[photo.key]}.json" not in done]

    def write(
        self,
        photo: str,
        pixels: UInt8[np.ndarray, "h w 3"],
        masks: Sequence[GeneratedMask],
        *,
        content: bytes,
        source: str,
    ) -> None:
        """Write a photo, and its masks.

        A JPEG is copied as it is, unless EXIF turns it: masks lie on the pixels as stored.

        Args:
          photo: its key.
          pixels: upright.
          masks: on these pixels.
          content: the photo's file.
          source: where it is from, for the JSON.
        """
        image_id = self._ids[photo]
        jpeg, described = self._file(photo, ".jpg"), self._file(photo, ".json")
        image = {
            "image_id": image_id,
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "file_name": jpeg.name,
            "source": source,
        }
        annotations = [mask.annotation(mask_id(image_id, place)) for place, mask in enumerate(masks)]
        write_whole(jpeg, upright_jpeg(content, pixels))
        text = json.dumps({"image": image, "annotations": annotations}, separators=(",", ":"), allow_nan=False)
        write_whole(described, text.encode())

    def write_overlay(self, photo: str, picture: UInt8[np.ndarray, "h w 3"]) -> Path:
        """Write a picture of the photo's masks, and return where."""
        place = self.path / "overlays" / f"{self._file(photo, '.png').name}"
        with tell_write_errors(place.parent):
            place.parent.mkdir(exist_ok=True)
        write_png(place, picture)
        return place

    def write_report(self, *, photos: int, unreadable: dict[str, str]) -> None:
        """Write what has become of a part that has been worked through: `unreadable` says why, by key."""
        report = {"photos": photos, "done": photos - len(unreadable), "unreadable": unreadable}
        write_whole(self.path / REPORT, json.dumps(report, indent=1) + "\n")

    def _file(self, photo: str, suffix: str) -> Path:
        return self.path / f"sa_{self._ids[photo]}{suffix}"


def open_folder(path: str | Path, *, checkpoint: str, config: GeneratorConfig, photos: Sequence[str]) -> MaskFolder:
    """Return the folder for masks of `photos`, by key: a new one, or one that an earlier run started.

    Raises:
      UserError: it holds something else, was started with another checkpoint or other settings, or cannot be written
        to.
    """
    folder, made_by = Path(path), _made_by(checkpoint, config)
    with tell_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        about = folder / ABOUT
        ids: dict[str, int] = {}
        if about.exists():
            before = read_request(about, fields={"checkpoint": str, "settings": dict, "photos": dict})
            _check(folder, before, made_by)
            ids = before["photos"]
        else:
            _check_empty(folder)
        ids = assign_ids(ids, photos)
        write_whole(about, (json.dumps({**made_by, "photos": ids}, indent=1) + "\n").encode())
    return MaskFolder(folder, settings=made_by, ids=ids)


@contextlib.contextmanager
def open_part(
    path: str | Path, part: Part, *, checkpoint: str, config: GeneratorConfig, photos: Sequence[str]
) -> Iterator[MaskFolder]:
    """Yield the folder in `path` for masks of a part of `photos`, locked: a new one, or one that was started before.

    Ids are those of the whole list, so that no two parts give the same, though none knows of another.

    Args:
      path: where the folders of all parts are.
      part: which.
      checkpoint: of the model.
      config: of the generator.
      photos: the whole list, by key.

    Raises:
      UserError: another process works on this part; it, or a part beside it, is of another list of photos or number of
        parts, or was started with another checkpoint or other settings; or it cannot be written to.
    """
    folder, made_by, listing = Path(path) / part.folder, _made_by(checkpoint, config), ListDigest.of(photos)
    if (Path(path) / ABOUT).exists():
        raise UserError(f"{path} holds masks made without --part: give another --out")
    for other in part_folders(Path(path)):
        if other.total != part.total:
            raise UserError(
                f"{path} holds {other.folder}, so --part {part} would do its photos again: give --part "
                f"I/{other.total}, or another --out"
            )
    with lock_folder(folder, option="--part"):
        with tell_write_errors(folder):
            if not (folder / ABOUT).exists():
                _check_empty(folder)
            for beside in part_folders(Path(path)).values():
                if (beside / ABOUT).exists():
                    _check_part(beside, made_by, listing)
            for partial in folder.glob(".*.partial"):  # of a process that was killed
                partial.unlink(missing_ok=True)
            content = {**made_by, "part": str(part), "list": listing.to_json()}
            write_whole(folder / ABOUT, json.dumps(content, indent=1) + "\n")
        yield MaskFolder(folder, settings=made_by, ids=_ids_of(part, photos))


def _ids_of(part: Part, photos: Sequence[str]) -> dict[str, int]:
    """Return the ids of a part's photos: those that they have in the whole list, sorted."""
    ids = assign_ids({}, sorted(photos))
    return {photo: number for photo, number in ids.items() if part.has(photo)}


def _made_by(checkpoint: str, config: GeneratorConfig) -> dict[str, Any]:
    settings = dataclasses.asdict(config)
    del settings["points_per_batch"]  # changes no mask
    return {"checkpoint": checkpoint, "settings": settings}


def _check_empty(folder: Path) -> None:
    others = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if others:
        raise UserError(f"{folder} holds {others[0]}, which samjax generate did not write: give another --out")


def _check(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to mix masks that were made differently."""
    flat = ({"checkpoint": one["checkpoint"], **one["settings"]} for one in (before, now))
    check_request(*flat, sentence=f"{folder} holds masks made")


def _check_part(folder: Path, made_by: dict[str, Any], listing: ListDigest) -> None:
    """Refuse a part of another list, or of masks that were made differently, in `folder` or beside it."""
    before = read_request(folder / ABOUT, fields={"checkpoint": str, "settings": dict, "list": dict})
    _check(folder, before, made_by)
    try:
        digest = ListDigest.from_json(before["list"])
    except ValueError as error:
        raise UserError(f"{folder / ABOUT} is damaged ({error}): remove {folder} and do this part again") from error
    check_same_list(digest, listing, folder=folder)
