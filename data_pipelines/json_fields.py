"""Typed reading of untrusted JSON fields; reports everything missing or wrong at once."""

import json
from typing import Any

_FAR = 2.0**53  # beyond it a float is no exact pixel; NaN and infinity are not below it either
_LONGEST_NAME = 255
_ABSENT: Any = object()


class Faults:
    """What is missing or wrong in some JSON."""

    def __init__(self):
        self.missing: list[str] = []
        self.wrong: list[str] = []

    def __str__(self) -> str:
        *others, last = self.missing or [""]
        verb = "are missing" if others else "is missing"
        lacking = [f"{', '.join(others)}{' and ' if others else ''}{last} {verb}"] if self.missing else []
        return "; ".join([*lacking, *self.wrong])

    def __bool__(self) -> bool:
        return bool(self.missing or self.wrong)


class Fields:
    """Reads the fields of one object. Missing or wrong fields are reported to `faults` and read as zero or empty.

    `path` goes before names in messages, as in `segmentation.size`; of an object that is missing nothing more is told.
    """

    def __init__(self, value: Any, faults: Faults, *, path: str = ""):
        self._fields: dict[str, Any] | None = value if isinstance(value, dict) else None
        self._faults = faults
        self._path = path

    def part(self, key: str) -> "Fields":
        """Return the fields of an object."""
        value = self._read(key)
        if value is not _ABSENT and not isinstance(value, dict):
            self._refuse(key, value, "an object")
        return Fields(value, self._faults, path=f"{self._path}{key}.")

    def items(self, key: str) -> list[Any]:
        """Return a list."""
        value = self._read(key)
        if isinstance(value, list):
            return value
        if value is not _ABSENT:
            self._refuse(key, value, "a list")
        return []

    def text(self, key: str, *, expected: str = "text") -> str:
        """Return text."""
        value = self._read(key)
        if isinstance(value, str):
            return value
        if value is not _ABSENT:
            self._refuse(key, value, expected)
        return ""

    def name(self, key: str) -> str:
        """Return text that can name a file: JSON can hold half a surrogate pair, which no file can."""
        value = self.text(key)
        if len(value) > _LONGEST_NAME or not value.isprintable():
            self._refuse(key, value, f"a name of up to {_LONGEST_NAME} printable characters")
        return value

    def count(self, key: str, *, bits: int = 63) -> int:
        """Return an integer from 0 to 2^bits - 1; one that is written as 12.0 counts."""
        value = self._read(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if 0 <= value < 2**bits:
                return value
            fault = f"is {excerpt(value)}, not a count" if value < 0 else f"has more than {bits} bits"
            self._faults.wrong.append(f"{self._path}{key} {fault}")
        elif value is not _ABSENT:
            self._refuse(key, value, "an integer")
        return 0

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self._read(key)
        if _is_number(value):
            return float(value)
        if value is not _ABSENT:
            self._refuse(key, value, "a number")
        return 0.0

    def numbers(self, key: str, length: int) -> tuple[float, ...]:
        """Return a list of `length` finite numbers."""
        value = self._read(key)
        if value is _ABSENT:
            return (0.0,) * length
        return self.as_numbers(key, value, length)

    def as_numbers(self, key: str, value: Any, length: int) -> tuple[float, ...]:
        """Return `value`, from inside of a field, as `numbers` does."""
        if isinstance(value, list) and len(value) == length and all(map(_is_number, value)):
            return tuple(float(number) for number in value)
        self._refuse(key, value, f"{length} numbers")
        return (0.0,) * length

    def _read(self, key: str) -> Any:
        if self._fields is None:
            return _ABSENT
        value = self._fields.get(key, _ABSENT)
        if value is _ABSENT:
            self._faults.missing.append(f"{self._path}{key}")
        return value

    def _refuse(self, key: str, value: Any, expected: str) -> None:
        self._faults.wrong.append(f"{self._path}{key} is {excerpt(value)}, expected {expected}")


def excerpt(value: Any) -> str:
    """Return a JSON value as its file has it, as far as a message has room: text keeps its quotes."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        short = len(value) <= 4 and not any(isinstance(item, list | dict) for item in value)
        return f"[{', '.join(map(excerpt, value))}]" if short else f"a list of {len(value):,}"
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 40 else f"{value[:40]}...")
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _is_number(value: Any) -> bool:
    # a JSON integer can be too large for a float
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR
