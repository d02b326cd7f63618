"""What `samjax data pack` packs: pairs in the folders of all parts of `samjax generate --part`, or in any folder."""

import collections
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.descriptions import KINDS, parse_pair
from data_pipelines.pairs import Drop, Pair, match_apart, parse_name, without_partner
from data_pipelines.storage import Entry, filesystem
from data_pipelines.walk import walk
from samjax.core.errors import UserError
from samjax.core.text import printable
from samjax.data.photo_parts import ABOUT, REPORT, Part, part_folders
from samjax.data.records.masks import Record

_LEVELS = 3
"""How far down the folder is searched, as `samjax data prepare` does."""


class PairPlace(NamedTuple):
    """Where a photo and its JSON lie."""

    number: str
    folder: str
    json_folder: str
    stamp: str
    """Changes when one of the files does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackSource:
    """The content of a folder in SA-1B's layout."""

    path: str
    pairs: list[PairPlace]
    """By number, each number once."""
    drops: list[Drop]
    """Photos and JSONs without the other, and numbers that an earlier pair has."""
    ignored_files: int
    """No part of a pair."""
    parts: int
    """How many there are of `samjax generate --part`; 0 if it is no folder of parts."""
    unreadable: int
    """Photos that `samjax generate` could not read, over all parts."""


def read_source(path: str | os.PathLike[str]) -> PackSource:
    """Return what a folder holds; no photo is opened.

    Raises:
      UserError: there is no such folder, it holds no pair, or it holds tars; a part is missing, not done or damaged, or
        two are not of one list of photos or not made alike.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{path} is not a folder: give one that samjax generate or samjax annotate wrote")
    reports = _read_parts(folder)
    files, root = filesystem(str(folder))
    found: dict[tuple[str, str], dict[str, Entry]] = {}
    ignored = 0
    for place, entry in walk(files, root, levels=_LEVELS):
        parsed = parse_name(entry.name)
        if entry.name.endswith(".tar") and not entry.name.startswith("."):
            raise UserError(f"{path} holds {entry.name}: it is packed already, or give a folder of pairs alone")
        if parsed and entry.is_file:
            found.setdefault((place, parsed[0]), {})[parsed[1]] = entry
        else:
            ignored += not entry.is_folder
    pairs, drops = _match(found)
    if not pairs:
        raise UserError(
            f"{path} holds no pair sa_<id>.jpg and sa_<id>.json: give a folder that samjax generate or samjax annotate "
            "wrote"
        )
    _check_parts(reports, pairs)
    kept, repeated = _first_of_each(pairs)
    return PackSource(
        path=str(folder),
        pairs=kept,
        drops=[*drops, *repeated],
        ignored_files=ignored,
        parts=len(reports),
        unreadable=sum(len(report["unreadable"]) for report in reports.values()),
    )


def pair_name(pair: PairPlace) -> str:
    """Return what messages call a pair."""
    return f"{pair.folder.rstrip('/').rsplit('/', 1)[-1]}: sa_{pair.number}"


def read_pair(place: PairPlace, *, fate: str) -> tuple[Pair, Record]:
    """Return a pair and its record, if `samjax data prepare` would take it; it is to be `fate`: drawn, frozen.

    Raises:
      UserError: it is damaged.
    """
    where = pair_name(place)
    try:
        jpeg = Path(place.folder, f"sa_{place.number}.jpg").read_bytes()
        text = Path(place.json_folder, f"sa_{place.number}.json").read_bytes()
        pair = Pair(where=where, jpeg=jpeg, text=text)
        record = parse_pair(pair)
    except (OSError, *KINDS) as error:
        raise UserError(f"{where} cannot be {fate} ({error}): repair or remove it") from error
    if record.image_id != int(place.number):
        raise UserError(f"{where} cannot be {fate}: its JSON says image_id {record.image_id}; repair or remove it")
    return pair, record


def fingerprint(pairs: Sequence[PairPlace]) -> str:
    """Return what changes when a file of some pairs does."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(os.fsencode(f"{pair.number}\0{pair.stamp}\n"))
    return digest.hexdigest()


def _match(found: Mapping[tuple[str, str], dict[str, Entry]]) -> tuple[list[PairPlace], list[Drop]]:
    """Return the pairs, in one folder or apart, and what has no partner."""
    pairs = [
        PairPlace(number, folder, folder, _stamp(beside["jpg"], beside["json"]))
        for (folder, number), beside in found.items()
        if len(beside) == 2
    ]
    lone = [
        (key, suffix, entry) for key, beside in found.items() if len(beside) == 1 for suffix, entry in beside.items()
    ]
    matched, left = match_apart(lone, key=lambda one: (one[0][1], one[1]))
    for (photo, _, jpeg), (described, _, text) in matched:
        pairs.append(PairPlace(photo[1], photo[0], described[0], _stamp(jpeg, text)))
    drops = [
        without_partner(printable(f"{folder.rsplit('/', 1)[-1]}: sa_{number}"), suffix=suffix)
        for (folder, number), suffix, _ in left
    ]
    return pairs, sorted(drops, key=lambda drop: drop.where)


def _stamp(*entries: Entry) -> str:
    return "\0".join(f"{entry.size} {entry.stamp}" for entry in entries)


def _first_of_each(pairs: Sequence[PairPlace]) -> tuple[list[PairPlace], list[Drop]]:
    """Return the pairs by number, each number once, and the others as drops."""
    kept: list[PairPlace] = []
    drops = []
    for pair in sorted(pairs, key=lambda pair: (int(pair.number), pair.number, pair.folder)):
        if kept and int(kept[-1].number) == int(pair.number):
            detail = f"{pair_name(kept[-1])} has its id"
            drops.append(Drop(where=printable(pair_name(pair)), kind="duplicate", detail=printable(detail)))
        else:
            kept.append(pair)
    return kept, drops


def _read_parts(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the reports of parts, by the path of their folder.

    Raises:
      UserError: one is missing, not done or damaged, or two do not belong together.
    """
    parts = part_folders(folder)
    if not parts:
        return {}
    total = next(iter(parts)).total
    missing = [number for number in range(1, total + 1) if Part(number=number, total=total) not in parts]
    todo = [part.number for part, place in parts.items() if not (place / REPORT).exists()]
    for numbers, state in ((missing, "missing"), (todo, "not done")):
        if numbers:
            listed = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
            raise UserError(
                f"{folder}: of {total:,} parts {len(numbers):,} are {state} ({listed}): run samjax generate --part "
                f"{numbers[0]}/{total} and so on"
            )
    first: dict[str, Any] = {}
    reports: dict[str, dict[str, Any]] = {}
    for place in parts.values():
        about, report = _json(place / ABOUT), _json(place / REPORT)
        made_by = {key: about.get(key) for key in ("list", "checkpoint", "settings")}
        first = first or made_by
        if differing := [key for key, value in made_by.items() if value != first[key]]:
            raise UserError(
                f"{place} has another {differing[0]} than the part before it: parts of two runs of samjax generate are "
                "mixed; remove those that do not belong"
            )
        if not isinstance(report.get("done"), int) or not isinstance(report.get("unreadable"), dict):
            raise UserError(f"{place / REPORT} is damaged: run this part of samjax generate again")
        reports[os.path.abspath(place)] = report
    return reports


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): run this part of samjax generate again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: run this part of samjax generate again")
    return content


def _check_parts(reports: Mapping[str, Mapping[str, Any]], pairs: Sequence[PairPlace]) -> None:
    """Refuse a part that has lost pairs since it was done, or got some."""
    counts = collections.Counter(pair.folder for pair in pairs)
    for place, report in reports.items():
        if counts[place] != report["done"]:
            raise UserError(
                f"{place} holds {counts[place]:,} complete pairs, but its {REPORT} says {report['done']:,}: run this "
                "part of samjax generate again"
            )
