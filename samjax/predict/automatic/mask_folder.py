"""A folder of photos with generated masks, laid out as SA-1B: what training reads."""

import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image

from samjax.core.errors import UserError
from samjax.core.files import tell_write_errors, write_png, write_whole
from samjax.core.folder import check_request, read_request
from samjax.core.text import printable
from samjax.predict.automatic.generated_mask import GeneratedMask
from samjax.predict.automatic.generator_config import GeneratorConfig

_ABOUT = "generate.json"
_MOST_MASKS = 100_000
"""A mask's id is the photo's times this, plus its place: no two photos share one."""
_IDS = 2**31
_NUMBERED = re.compile(r"(?:sa_)?(\d{1,10})")
_QUALITY = 95


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
        image_id = self._ids[_name(path)]
        jpeg, described = self._file(path, ".jpg"), self._file(path, ".json")
        image = {
            "image_id": image_id,
            "width": photo.shape[1],
            "height": photo.shape[0],
            "file_name": jpeg.name,
            "source": str(path),
        }
        annotations = [mask.annotation(image_id * _MOST_MASKS + place) for place, mask in enumerate(masks)]
        write_whole(jpeg, _as_jpeg(Path(path), photo))
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
        return self.path / f"sa_{self._ids[_name(photo)]}{suffix}"


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
        ids = _with_ids(ids, [_name(photo) for photo in photos])
        write_whole(about, (json.dumps({**made_by, "photos": ids}, indent=1) + "\n").encode())
    return MaskFolder(folder, settings=made_by, ids=ids)


def _check(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to mix masks that were made differently."""
    flat = ({"checkpoint": one["checkpoint"], **one["settings"]} for one in (before, now))
    check_request(*flat, sentence=f"{folder} holds masks made")


def _with_ids(ids: dict[str, int], photos: Sequence[str]) -> dict[str, int]:
    """Return `ids` with one for each of `photos`; those that have one keep it. Numbered photos come first."""
    ids = dict(ids)
    taken = set(ids.values())
    new = [photo for photo in dict.fromkeys(photos) if photo not in ids]
    for photo in sorted(new, key=lambda photo: _number(photo) is None):
        number, turn = _number(photo), 0
        while number is None or number in taken:
            digest = hashlib.sha256(f"{printable(Path(photo).name)}\0{turn}".encode()).digest()
            number, turn = int.from_bytes(digest[:4]) % _IDS, turn + 1
        ids[photo] = number
        taken.add(number)
    return ids


def _number(photo: str) -> int | None:
    found = _NUMBERED.fullmatch(Path(photo).stem)
    return int(found[1]) if found and int(found[1]) < _IDS else None


def _name(photo: str | Path) -> str:
    return str(Path(photo).absolute())


def _as_jpeg(path: Path, photo: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return the file's own bytes if they are a whole JPEG of these pixels as stored, else the photo encoded."""
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as opened:
        turned = opened.getexif().get(ExifTags.Base.Orientation, 1) != 1
        whole = opened.format == "JPEG" and content.rstrip(b"\0").endswith(b"\xff\xd9")
    if whole and not turned:
        return content
    encoded = io.BytesIO()
    Image.fromarray(photo).save(encoded, format="JPEG", quality=_QUALITY)
    return encoded.getvalue()
