"""Reads folders of extracted pairs, `sa_<id>.jpg` and `sa_<id>.json`. Pipes and devices are not opened."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fsspec import AbstractFileSystem

from data_pipelines.pairs import LIMITS, Drop, Pair, SourceError, too_large, without_partner
from data_pipelines.storage import open_bytes
from samjax.core.machine_faults import machine_fault


class PairFiles(NamedTuple):
    """A number in a folder, the suffixes that it has, and where its JSON is if not there."""

    number: str
    suffixes: tuple[str, ...]
    json_folder: str | None = None


def read_pairs(
    files: AbstractFileSystem, folder: str, pairs: Sequence[PairFiles], *, name: str
) -> Iterator[Pair | Drop]:
    """Yield the records of `pairs`, files of `folder`, which messages call `name`.

    An unreadable file costs only its record.

    Raises:
      SourceError: the machine failed; the file may be sound.
    """
    for number, suffixes, json_folder in pairs:
        where = f"{name}: sa_{number}"
        if len(suffixes) == 1:
            yield without_partner(where, suffix=suffixes[0])
            continue
        content: dict[str, bytes] = {}
        fault = None
        for suffix in suffixes:
            place = json_folder if suffix == "json" and json_folder is not None else folder
            try:
                with open_bytes(files, f"{place}/sa_{number}.{suffix}") as file:
                    content[suffix] = file.read(LIMITS[suffix] + 1)
            except OSError as error:
                if failed := machine_fault(error):
                    raise SourceError(f"cannot be read at sa_{number}.{suffix} ({failed})") from error
                fault = Drop(where=where, kind="unreadable", detail=f"its {suffix} cannot be read ({error})")
                break
            if len(content[suffix]) > LIMITS[suffix]:
                fault = too_large(where, suffix=suffix, size=len(content[suffix]))
                break
        yield fault or Pair(where=where, jpeg=content["jpg"], text=content["json"])
