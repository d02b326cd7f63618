"""A round of the data engine: photos and their masks as they are now, apart from the folder where people go on."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipelines.holdout import HELD_OUT, TRAINING, Splits
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
      source: a folder in SA-1B's layout, such as `samjax annotate` and `samjax generate` write.
      out: `frozen.json` in it names every photo with the SHA-256 of its JSON: what was trained on.
      share: of the photos to hold out.

    Raises:
      UserError: there are too few photos with masks, `out` was frozen from another folder or with another share, or
        holds something else.
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
    files = sorted(source.glob("sa_*.json"))
    if not files:
        raise UserError(f"{source} holds no sa_*.json: give a folder that samjax annotate or samjax generate wrote")
    contents = {file.stem.removeprefix("sa_"): file.read_bytes() for file in files}
    with_masks = {id: content for id, content in contents.items() if json.loads(content)["annotations"]}
    split_of = {id: splits.split_of(f"sa_{id}.jpg") for id in with_masks}
    counts = {split: sum(one == split for one in split_of.values()) for split in splits.names}
    if not all(counts.values()):
        raise UserError(
            f"{source} has {len(with_masks)} photos with masks, of which {counts[HELD_OUT]} would be held out and "
            f"{counts[TRAINING]} trained on: annotate more, or give another --holdout"
        )
    with whole_folder(out, option="--workdir") as partial:
        photos: dict[str, dict[str, Any]] = {split: {} for split in splits.names}
        for split in photos:
            (partial / split).mkdir()
        for id, content in with_masks.items():
            split = split_of[id]
            photo = source / f"sa_{id}.jpg"
            if not photo.is_file():
                raise UserError(f"{photo}: no such file, but its JSON is there: restore it, or remove the JSON")
            shutil.copyfile(photo, partial / split / photo.name)
            (partial / split / f"sa_{id}.json").write_bytes(content)
            photos[split][id] = hashlib.sha256(content).hexdigest()
        write_whole(partial / _LIST, json.dumps({**request, "photos": photos}, indent=1) + "\n")
