"""A folder of photos with generated masks, laid out as SA-1B: what training reads."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from samjax.core.errors import UserError
from samjax.core.files import tell_write_errors, write_png, write_whole
from samjax.core.folder import check_request, read_request
from samjax.data.photo_ids import assign_ids, mask_id, photo_key
from samjax.data.upright_jpeg import upright_jpeg
from samjax.predict.automatic.generated_mask import GeneratedMask
from samjax.predict.automatic.generator_config import GeneratorConfig

_ABOUT = "generate.json"


class MaskFolder:
    """Photos `sa_<id>.jpg` with `sa_<id>.json` beside them, the JSON written last: a photo that has it is done.

    Beside them lies `generate.json`: what the masks were made with, and the id of each photo by its path. A photo
    called `sa_<number>` or `<number>` keeps its number, if that is free; another gets one made of its name.
    """

    def __init__(self, path: str | Path, *, settings: dict[str, Any], ids: dict[str, int]):
        self.path = Path(path)
        self.settings, self._ids = settings, ids

    def is_done(self, photo: str | Path) -> bool:
        """Return whether the photo's masks are there."""
        return self._file(photo, ".json").exists()

    def write(self, path: str | Path, photo: UInt8[np.ndarray, "h w 3"], masks: Sequence[GeneratedMask]) -> None:
        """Write the photo that was read from `path`, and its masks.

        A JPEG is copied as it is, unless EXIF turns it: masks lie on the pixels as stored.
        """
        image_id = self._ids[photo_key(path)]
        jpeg, described = self._file(path, ".jpg"), self._file(path, ".json")
        image = {
            "image_id": image_id,
            "width": photo.shape[1],
            "height": photo.shape[0],
            "file_name": jpeg.name,
            "source": str(path),
        }
        annotations = [mask.annotation(mask_id(image_id, place)) for place, mask in enumerate(masks)]
        write_whole(jpeg, upright_jpeg(Path(path), photo))
        text = json.dumps({"image": image, "annotations": annotations}, separators=(",", ":"), allow_nan=False)
        write_whole(described, text.encode())

    def write_overlay(self, path: str | Path, picture: UInt8[np.ndarray, "h w 3"]) -> Path:
        """Write a picture of the photo's masks, and return where."""
        place = self.path / "overlays" / f"{self._file(path, '.png').name}"
        with tell_write_errors(place.parent):
            place.parent.mkdir(exist_ok=True)
        write_png(place, picture)
        return place

    def _file(self, photo: str | Path, suffix: str) -> Path:
        return self.path / f"sa_{self._ids[photo_key(photo)]}{suffix}"


def open_folder(
    path: str | Path, *, checkpoint: str, config: GeneratorConfig, photos: Sequence[str | Path]
) -> MaskFolder:
    """Return the folder for masks of `photos`: a new one, or one that an earlier run started.

    Raises:
      UserError: it holds something else, was started with another checkpoint or other settings, or cannot be written
        to.
    """
    folder = Path(path)
    settings = dataclasses.asdict(config)
    del settings["points_per_batch"]  # changes no mask
    made_by = {"checkpoint": checkpoint, "settings": settings}
    with tell_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        about = folder / _ABOUT
        ids: dict[str, int] = {}
        if about.exists():
            before = read_request(about, fields={"checkpoint": str, "settings": dict, "photos": dict})
            _check(folder, before, made_by)
            ids = before["photos"]
        elif others := sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".")):
            raise UserError(f"{folder} holds {others[0]}, which samjax generate did not write: give another --out")
        ids = assign_ids(ids, [photo_key(photo) for photo in photos])
        write_whole(about, (json.dumps({**made_by, "photos": ids}, indent=1) + "\n").encode())
    return MaskFolder(folder, settings=made_by, ids=ids)


def _check(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to mix masks that were made differently."""
    flat = ({"checkpoint": one["checkpoint"], **one["settings"]} for one in (before, now))
    check_request(*flat, sentence=f"{folder} holds masks made")
