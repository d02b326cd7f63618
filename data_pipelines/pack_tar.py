"""Writes one tar of pairs in SA-1B's layout: the same bytes from the same pairs, wherever and whenever."""

import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from typing import BinaryIO

from data_pipelines.descriptions import KINDS, parse_pair
from data_pipelines.pack_report import TarEntry
from data_pipelines.pack_source import PairPlace, fingerprint, pair_name
from data_pipelines.pairs import Drop, Pair, SourceError
from data_pipelines.photo_folders import PairFiles, read_pairs
from data_pipelines.shards import cannot_write
from data_pipelines.storage import WORK, Folder, filesystem
from samjax.core.errors import MachineError
from samjax.core.machine_faults import machine_fault
from samjax.core.text import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class TarTask:
    """A tar to write."""

    out: str
    file: str
    """Its name in `out`."""
    pairs: tuple[PairPlace, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TarResult:
    """A tar that has been written whole."""

    entry: TarEntry
    drops: tuple[Drop, ...]
    """Pairs that could not be used."""

    def to_json(self) -> bytes:
        """Return what `from_json` reads."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "TarResult":
        """Return the result written in `text`."""
        fields = json.loads(text)
        return cls(entry=TarEntry(**fields["entry"]), drops=tuple(Drop(**drop) for drop in fields["drops"]))


def result_file(file: str) -> str:
    """Return where in the out folder the result of the tar called `file` is kept until the end."""
    return f"{WORK}/{file}.json"


def make_tar(task: TarTask, *, advance: Callable[[], None] = lambda: None) -> TarResult:
    """Write a tar, then its result beside it.

    `advance` is called after every pair; what it raises ends the work.

    Raises:
      UserError, MachineError: the tar cannot be written, or a pair cannot be read for a fault of the machine.
    """
    folder = Folder(task.out)
    try:
        try:
            with folder.temporary(task.file) as path, path.open("wb") as file:
                result = _write(task, file, advance)
        except _NothingError as nothing:
            result = nothing.result
        folder.write(result_file(task.file), result.to_json())
    except (OSError, MemoryError) as error:
        raise cannot_write(task.out, error) from error
    except SourceError as error:
        raise MachineError(f"{task.file} is not written: {error}; then run the same command again") from error
    return result


class _NothingError(Exception):
    """No pair of a tar can be used: there is none."""

    def __init__(self, result: TarResult):
        super().__init__()
        self.result = result


class _Digest:
    """A file that is written front to back, and counted."""

    def __init__(self, file: BinaryIO):
        self._file, self._sha256, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        self.size += len(data)
        return self._file.write(data)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _write(task: TarTask, file: BinaryIO, advance: Callable[[], None]) -> TarResult:
    photos = masks = without_masks = 0
    drops: list[Drop] = []
    written = _Digest(file)
    with tarfile.open(fileobj=written, mode="w|", format=tarfile.USTAR_FORMAT) as archive:  # type: ignore[call-overload]
        for place in task.pairs:
            advance()
            item = _read(place)
            if isinstance(item, Drop):
                drops.append(item)
                continue
            pair, count = item
            _add(archive, f"sa_{int(place.number)}.jpg", pair.jpeg)
            _add(archive, f"sa_{int(place.number)}.json", pair.text)
            photos, masks, without_masks = photos + 1, masks + count, without_masks + (count == 0)
    entry = TarEntry(
        file=task.file if photos else "",
        key=fingerprint(task.pairs),
        photos=photos,
        masks=masks,
        without_masks=without_masks,
        dropped=len(drops),
        size=written.size if photos else 0,
        sha256=written.hexdigest() if photos else "",
    )
    result = TarResult(entry=entry, drops=tuple(drops))
    if not photos:
        raise _NothingError(result)
    return result


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member that says nothing of who wrote it, or when."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


def _read(place: PairPlace) -> tuple[Pair, int] | Drop:
    """Return a pair and how many masks it has, as `samjax data prepare` would read it, or why it cannot be used."""
    files, folder = filesystem(place.folder)
    apart = place.json_folder if place.json_folder != place.folder else None
    where = printable(pair_name(place))
    (item,) = read_pairs(
        files, folder, [PairFiles(place.number, ("jpg", "json"), apart)], name=where.rsplit(": ", 1)[0]
    )
    if isinstance(item, Drop):
        return item
    try:
        record = parse_pair(item)
    except tuple(KINDS) as error:
        if fault := machine_fault(error):
            raise SourceError(f"{where} cannot be read ({fault})") from error
        return Drop(where=where, kind=KINDS[type(error)], detail=str(error)[:300])
    if record.image_id != int(place.number):
        detail = f"its JSON says image_id {record.image_id}: its files must be called sa_{record.image_id}"
        return Drop(where=where, kind="another id", detail=detail)
    return item, len(record.annotations)
