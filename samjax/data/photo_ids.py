"""Ids of photos and of their masks in folders that samjax writes in SA-1B's layout."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from samjax.core.text import printable

MOST_MASKS = 100_000
"""A mask's id is the photo's times this, plus its place: no two photos share one."""
IDS = 2**31
"""A photo's id is below this: records hold no larger one."""
_NUMBERED = re.compile(r"(?:sa_)?(\d{1,10})")


def assign_ids(ids: Mapping[str, int], photos: Sequence[str]) -> dict[str, int]:
    """Return `ids` with one for each of `photos`; those that have one keep it.

    A photo called `sa_<number>` or `<number>` gets that number, if it is free; another gets one made of its name.
    Numbered photos come first. Both arguments name photos as `photo_key` does.
    """
    ids = dict(ids)
    taken = set(ids.values())
    turns: dict[str, int] = {}  # of names that many photos have: all hashes before are taken
    new = [(photo, _number(photo)) for photo in dict.fromkeys(photos) if photo not in ids]
    for photo, number in sorted(new, key=lambda one: one[1] is None):
        if number is None or number in taken:
            name = printable(Path(photo).name)
            turn = turns.get(name, 0)
            while (number := _hash(name, turn)) in taken:
                turn += 1
                turns[name] = turn + 1
        ids[photo] = number
        taken.add(number)
    return ids


def mask_id(photo: int, place: int) -> int:
    """Return the id of the mask at `place`, from 0, of the photo with the id `photo`."""
    return photo * MOST_MASKS + place


def photo_key(photo: str | Path) -> str:
    """Return what tells a photo from all others on this machine: its absolute path."""
    return str(Path(photo).absolute())


def _hash(name: str, turn: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{name}\0{turn}".encode()).digest()[:4]) % IDS


def _number(photo: str) -> int | None:
    found = _NUMBERED.fullmatch(Path(photo).stem)
    return int(found[1]) if found and int(found[1]) < IDS else None
