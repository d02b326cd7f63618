"""JSON files of annotations, whose values may be of any type: each is of the type asked for, or refused as it is."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from samjax.core.errors import UserError
from samjax.data.annotations.problems import quote

_MOST_BYTES = 4 * 2**30  # LVIS v1's training annotations are 1.2 GB


def read_lists(path: Path) -> dict[str, Any]:
    """Return the content of a JSON with the lists `images`, `annotations` and `categories`, of objects each.

    Raises:
      UserError: the file cannot be read, is too large, or is not such a JSON.
    """
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{path} has no list {key!r}: it must be annotations in COCO's format")
    return content


def read_results(path: Path, *, what: str, expected: str) -> list[Any]:
    """Return the entries of COCO's results JSON, each a dict of the file's own values.

    Args:
      what: the entries, in words, and `expected`, what to give instead of another JSON: both for the error.

    Raises:
      UserError: the file cannot be read, is too large, or is no list of objects.
    """
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise UserError(f"{path} is no list of {what}: give COCO's results JSON, a list of objects with {expected}")
    return content


def read_json(path: Path) -> Any:
    """Return what the JSON holds. Bytes that are not UTF-8 are kept as the names of files keep them.

    Raises:
      UserError: the file cannot be read, is too large, or is no JSON.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes, more than {_MOST_BYTES:,}")
        content = path.read_bytes()
        encoding = json.detect_encoding(content)
        return json.loads(content.decode(encoding, "surrogateescape" if encoding.startswith("utf-8") else "strict"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a JSON in COCO's format") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None


def is_whole(value: Any) -> TypeGuard[int]:
    """Return whether `value` is a whole number: not true, nor 1.0, nor '1'."""
    return type(value) is int


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether `value` is a finite number that a float holds, and neither true nor text."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def whole(entry: dict[str, Any], key: str, path: str | Path) -> int:
    """Return the whole number that `entry`, of the JSON at `path`, has under `key`.

    Raises:
      UserError: it has none.
    """
    value = entry.get(key)
    if not is_whole(value) or value < 0:
        raise UserError(
            f"{path}: {key} is {quote(value)} in {quote(entry)}, but must be a whole number, 0 or more, without quotes"
        )
    return value


def flag(entry: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    """Return whether `entry` has 1 or true under `key`; `default` if it has nothing there.

    Raises:
      ValueError: it has something that is neither 1 or true nor 0 or false.
    """
    value = entry.get(key)
    if value is None:
        return default
    if type(value) not in (bool, int, float) or value not in (0, 1):
        raise ValueError(f"{key} is {quote(value)}, but must be 0 or 1")
    return bool(value)


def label(category: dict[str, Any]) -> str:
    """Return what a category is called: its name, or else its id."""
    name = category.get("name")
    return name if isinstance(name, str) else str(category["id"])


def file_name(image: dict[str, Any], path: str | Path) -> str:
    """Return where the photo is, under the folder of photos: LVIS gives it as the end of an address alone.

    Raises:
      UserError: the image of the JSON at `path` has no such text.
    """
    name, address = image.get("file_name"), image.get("coco_url")
    if name is not None and not isinstance(name, str):
        raise UserError(f"{path}: image {image['id']!r} has the file_name {quote(name)}, but it must be text")
    if not name and isinstance(address, str):
        name = "/".join(address.split("/")[-2:])
    if not name:
        raise UserError(f"{path}: image {image['id']!r} has neither file_name nor coco_url")
    return name


def index_by_id(entries: list[dict[str, Any]], path: str | Path) -> dict[int, dict[str, Any]]:
    """Return the `categories` of the JSON at `path` by their ids.

    Raises:
      UserError: an id is no whole number, or is given to two that differ.
    """
    found: dict[int, dict[str, Any]] = {}
    for entry in entries:
        number = whole(entry, "id", path)
        if found.setdefault(number, entry) != entry:
            raise UserError(f"{path} gives the id {number} to two categories: {quote(found[number])}, {quote(entry)}")
    return found
