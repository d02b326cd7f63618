"""Draws photos with their masks from a folder in SA-1B's layout, for people to verify."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from data_pipelines.pack_source import PackSource, PairPlace, read_pair, read_source
from samjax.core.errors import UserError
from samjax.core.folder import check_can_write, whole_folder
from samjax.data.masks.mask_uuid import generated_uuid
from samjax.data.photo_parts import ABOUT, part_folders

SAMPLE = "sample.json"
"""In the folder: where the photos are from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleReport:
    """A sample that has been drawn."""

    photos: int
    """Drawn."""
    among: int
    """Photos it was drawn from."""
    masks: int
    is_new: bool
    """Whether it was written; False if it was there already, and is left as it is."""


def draw_sample(source: str | os.PathLike[str], out: str | os.PathLike[str], *, photos: int, seed: int) -> SampleReport:
    """Write a sample of the pairs of `source` to the folder `out`, in SA-1B's layout, with `sample.json` beside them.

    A photo is drawn if a hash of seed and id is among the lowest: the same on every machine, whatever else the folder
    holds, and a larger sample holds the smaller. JPEGs are copied; each mask gets a `uuid`, if it has none, by which it
    is found again when it has been corrected.

    Args:
      source: the folder, as `pack_source.read_source` takes it; all parts must be done.
      out: the folder to make, whole or not at all. If it is a sample of the same kind already, nothing is done.
      photos: how many; all, if there are fewer.
      seed: of the draw.

    Raises:
      UserError: `source` cannot be read, or one of the pairs drawn is damaged; `out` holds something else or cannot be
        written.
    """
    target = Path(out).expanduser()
    check_can_write(target)
    data = read_source(source)
    ranked = sorted(data.pairs, key=lambda pair: _rank(seed, pair))
    drawn = sorted(ranked[:photos], key=lambda pair: int(pair.number))
    request = {
        "source": os.path.abspath(data.path),
        "seed": seed,
        "photos": photos,
        "among": len(data.pairs),
        **_made_by(data),
    }
    if target.exists() and any(not entry.name.startswith(".") for entry in target.iterdir()):
        return _earlier(target, request, count=len(drawn))
    masks = 0
    images: dict[str, Any] = {}
    if target.exists():
        target.rmdir()
    with whole_folder(target) as folder:
        for place in drawn:
            pair = read_pair(place, fate="drawn")[0]
            described = _named(pair.text)
            number = described["image"]["image_id"]
            masks += len(described["annotations"])
            images[str(number)] = {
                "folder": place.json_folder,
                "sha256": hashlib.sha256(pair.text).hexdigest(),
                "source": described["image"].get("source"),
            }
            (folder / f"sa_{number}.jpg").write_bytes(pair.jpeg)
            text = json.dumps(described, separators=(",", ":"), allow_nan=False)
            (folder / f"sa_{number}.json").write_text(text)
        (folder / SAMPLE).write_text(json.dumps({**request, "masks": masks, "images": images}, indent=1) + "\n")
    return SampleReport(photos=len(drawn), among=len(data.pairs), masks=masks, is_new=True)


def _rank(seed: int, pair: PairPlace) -> bytes:
    return hashlib.sha256(f"{seed}\0{int(pair.number)}".encode()).digest()


def _made_by(data: PackSource) -> dict[str, Any]:
    """Return the checkpoint and settings of `samjax generate`, if it made the folder."""
    folder = next(iter(part_folders(Path(data.path)).values()), Path(data.path))
    try:
        about = json.loads((folder / ABOUT).read_text())
        return {"checkpoint": about["checkpoint"], "settings": about["settings"]}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _earlier(target: Path, request: dict[str, Any], *, count: int) -> SampleReport:
    """Return the report of a sample that is there, and may have been corrected since."""
    try:
        before = json.loads((target / SAMPLE).read_text())
        if all(before.get(key) == value for key, value in request.items()):
            return SampleReport(photos=count, among=before["among"], masks=before["masks"], is_new=False)
    except (OSError, ValueError, AttributeError, KeyError):
        pass
    raise UserError(f"{target} exists already, and is no such sample: give another --out, or remove it")


def _named(text: bytes) -> dict[str, Any]:
    """Return a description in which every mask has a UUID."""
    described = json.loads(text)
    photo = described["image"]["image_id"]
    for place, one in enumerate(described["annotations"]):
        one.setdefault("uuid", generated_uuid(photo, place, one["segmentation"]["counts"]))
    return described
