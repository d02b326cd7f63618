"""A round of the data engine: photos and their masks as they are now, apart from the folder where people go on."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipelines.holdout import HELD_OUT, TRAINING, Splits
from data_pipelines.pack_source import read_pair, read_source
from data_pipelines.pairs import NO_JPEG
from samjax.core.errors import UserError
from samjax.core.files import write_whole
from samjax.core.folder import check_request, read_request, whole_folder

_LIST = "frozen.json"


@dataclass(frozen=True, kw_only=True)
class FrozenMasks:
    """Copies of photos with masks, in SA-1B's layout, and which of them are held out."""

    path: Path
    """Its folders `train` and `val` are what `samjax data prepare` reads; `frozen.json` lists photos and digests."""
    train: tuple[int, ...]
    """The ids of photos to train on."""
    val: tuple[int, ...]
    """The ids of photos that are held out: by a hash of the id, so the same in every round."""

    def folder(self, split: str) -> Path:
        """Return the folder of a split."""
        return self.path / split


def freeze_masks(source: str | Path, out: str | Path, *, share: float) -> FrozenMasks:
    """Copy the photos of `source` that have masks to the new folder `out`, or return what it holds already.

    Args:
      source: a folder in SA-1B's layout, such as `samjax annotate` and `samjax generate` write, also in parts.
      out: `frozen.json` in it names every photo with the SHA-256 of its JSON: what was trained on.
      share: of the photos to hold out.

    Raises:
      UserError: there are too few photos with masks, one is damaged or a part of `samjax generate` not done; `out` was
        frozen from another folder or with another share, or holds something else.
    """
    source, out = Path(source), Path(out)
    request = {"source": str(source.absolute()), "share": share}
    if not out.exists():
        _freeze(source, out, request, Splits(name=TRAINING, holdout=share))
    found = read_request(out / _LIST, fields={"source": str, "share": float, "photos": dict})
    check_request({name: found[name] for name in request}, request, sentence=f"{out} holds masks frozen")
    photos: dict[str, dict[str, Any]] = found["photos"]
    train, val = (tuple(map(int, photos[split])) for split in (TRAINING, HELD_OUT))
    return FrozenMasks(path=out, train=train, val=val)


def _freeze(source: Path, out: Path, request: dict[str, Any], splits: Splits) -> None:
    if next(source.rglob("sa_*.json"), None) is None:
        raise UserError(f"{source} holds no sa_*.json: give a folder that samjax annotate or samjax generate wrote")
    data = read_source(source)
    for drop in data.drops:
        if drop.kind == NO_JPEG:
            raise UserError(f"{drop.where}.jpg: no such file, but its JSON is there: restore it, or remove the JSON")
    with whole_folder(out, option="--workdir") as partial:
        photos: dict[str, dict[str, str]] = {split: {} for split in splits.names}
        for split in photos:
            (partial / split).mkdir()
        for place in data.pairs:
            pair, record = read_pair(place, fate="frozen")
            if record.annotations:
                split = splits.split_of(f"sa_{record.image_id}.jpg")
                (partial / split / f"sa_{record.image_id}.jpg").write_bytes(pair.jpeg)
                (partial / split / f"sa_{record.image_id}.json").write_bytes(pair.text)
                photos[split][str(record.image_id)] = hashlib.sha256(pair.text).hexdigest()
        counts = {split: len(those) for split, those in photos.items()}
        if not all(counts.values()):
            raise UserError(
                f"{source} has {sum(counts.values())} photos with masks, of which {counts[HELD_OUT]} would be held out "
                f"and {counts[TRAINING]} trained on: annotate more, or give another --holdout"
            )
        write_whole(partial / _LIST, json.dumps({**request, "photos": photos}, indent=1) + "\n")
