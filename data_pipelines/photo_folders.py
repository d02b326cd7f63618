"""Reads folders of extracted pairs, `sa_<id>.jpg` beside `sa_<id>.json`. Links, pipes and devices are not opened."""

from collections.abc import Iterator, Sequence

from fsspec import AbstractFileSystem

from data_pipelines.pairs import LIMITS, Drop, Pair, too_large, without_partner
from data_pipelines.storage import open_bytes


def read_folder(
    files: AbstractFileSystem, folder: str, *, name: str, numbers: Sequence[tuple[str, tuple[str, ...]]]
) -> Iterator[Pair | Drop]:
    """Yield the records of `folder` by their numbers, each with the suffixes it has there.

    A file that cannot be read costs its record alone.
    """
    for number, suffixes in numbers:
        where = f"{name}: sa_{number}"
        if len(suffixes) == 1:
            yield without_partner(where, suffix=suffixes[0])
            continue
        content: dict[str, bytes] = {}
        fault = None
        for suffix in suffixes:
            try:
                with open_bytes(files, f"{folder}/sa_{number}.{suffix}") as file:
                    content[suffix] = file.read(LIMITS[suffix] + 1)
            except OSError as error:
                fault = Drop(where=where, kind="unreadable", detail=f"its {suffix} cannot be read ({error})")
                break
            if len(content[suffix]) > LIMITS[suffix]:
                fault = too_large(where, suffix=suffix, size=len(content[suffix]))
                break
        yield fault or Pair(where=where, jpeg=content["jpg"], text=content["json"])
