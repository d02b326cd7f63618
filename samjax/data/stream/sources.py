"""Sources of records: a prepared folder with random access to its ArrayRecord shards, or synthetic records."""

import bisect
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, SupportsIndex, runtime_checkable

from etils import epath

from samjax.core.errors import UserError
from samjax.core.machine_faults import raise_machine_fault
from samjax.data.records import depths, masks, photos, segments
from samjax.data.records.schema import Schema
from samjax.data.stream import readers
from samjax.data.synthetic.source import SyntheticSource, is_synthetic, parse_synthetic

_SCHEMAS = (masks.SCHEMA, photos.SCHEMA, segments.SCHEMA, depths.SCHEMA)
_PREPARE = "prepare it with `samjax data prepare --source TARS --out FOLDER`"
_LEVELS = 2  # TFDS nests a data set as name/version


@runtime_checkable
class RecordSource(Protocol):
    """Random access to encoded records."""

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: SupportsIndex) -> bytes: ...


class ArrayRecordSource:
    """Random access to the encoded records of one or more splits, in the order of their shards.

    `counts` is the number of records in each shard.
    """

    def __init__(self, *, name: str, shards: Sequence[str], counts: Sequence[int]):
        self.name = name
        self._shards = readers.Shards(shards)
        self._ends = tuple(itertools.accumulate(counts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: SupportsIndex) -> bytes:
        """Return the bytes of record `index`.

        Raises:
          IndexError: there is no such record.
          MachineError: the machine cannot read it, for example without a free file descriptor.
          RecordError: the shard is missing, or damaged there.
        """
        place = index.__index__()
        if not 0 <= place < len(self):
            raise IndexError(f"{self.name} holds {len(self)} records, and no record {place}")
        shard = bisect.bisect_right(self._ends, place)
        return self._shards.read(shard, place - (self._ends[shard - 1] if shard else 0))

    def __repr__(self) -> str:
        return f"ArrayRecordSource({self.name}, {len(self)} records)"


def is_sa1b_layout(path: str) -> bool:
    """Return whether `path` names photos in the SA-1B layout: a tar, a glob of tars, a folder of tars or of pairs."""
    if path.endswith(".tar"):
        return True
    folder = Path(path)
    if not folder.is_dir() or (folder / "dataset_info.json").exists():
        return False
    return any(next(folder.glob(pattern), None) for pattern in ("[!.]*.tar", "sa_*.json"))


def holds_records(path: str) -> bool:
    """Return whether `path` is a folder prepared by `samjax data prepare`, or up to two levels above one."""
    return bool(_datasets(epath.Path(path).expanduser()))


def open_source(path: str, split: str, schema: Schema = masks.SCHEMA) -> RecordSource:
    """Return the records of `split` in a prepared folder, or synthetic ones.

    Args:
      path: the folder with dataset_info.json, or one up to two levels above it that holds no other data set; or
        `synthetic:` and its parameters.
      split: a split's name, or several as `train+extra`.
      schema: of the records.

    Raises:
      UserError: the folder or split does not exist or is empty, has another schema or file format, or a shard is
        missing or damaged.
      MachineError: the machine cannot open a shard.
    """
    if is_synthetic(path):
        if not _is_of(masks.SCHEMA, schema):
            raise UserError(
                f"{path} gives records of {masks.SCHEMA.name}, but this run expects records of {schema.name}"
            )
        # Threads encode these records by TFDS, which replaces `__import__` while it is imported: not beside a trace.
        masks.features()
        return SyntheticSource(parse_synthetic(path), split=split)
    info, folder = open_info(path, schema)
    counts: dict[str, int] = {}
    for name in split.split("+"):
        if name not in info.splits:
            raise UserError(f"{folder} has no split {name!r}: it has {', '.join(info.splits) or 'none'}")
        counts |= _count_shards(info.splits[name])
    if not counts:
        raise UserError(f"split {split!r} of {folder} is empty: {_PREPARE}")
    return ArrayRecordSource(name=f"{folder} {split}", shards=list(counts), counts=list(counts.values()))


def open_info(path: str, schema: Schema = masks.SCHEMA) -> tuple[Any, epath.Path]:
    """Return a prepared folder's TFDS DatasetInfo, and the folder that holds dataset_info.json.

    Raises:
      UserError: the folder does not exist, or has another schema or file format.
    """
    import tensorflow_datasets as tfds

    folder = _find_dataset(path)
    try:
        info = tfds.builder_from_directory(folder).info
    except Exception as error:  # a damaged dataset_info.json or features.json raises errors of any type
        raise_machine_fault(error, what=f"{folder} cannot be read")
        raise UserError(f"{folder} holds no readable TFDS data set ({error}): {_PREPARE}") from error
    found = schema_of(info)
    if found is None or not _is_of(found, schema):
        raise UserError(f"{folder} holds records of another schema than {schema.name}: {_PREPARE}")
    if info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise UserError(f"{folder} holds {info.file_format} files, not array_record: {_PREPARE}")
    return info, folder


def schema_of(info: Any) -> Schema | None:
    """Return the schema of a data set's records, from its TFDS DatasetInfo; None if it is not one of samjax's."""
    if info.features is None:
        return None
    stored = info.features.get_serialized_info()
    return next((known for known in _SCHEMAS if known.features().get_serialized_info() == stored), None)


def _is_of(found: Schema, wanted: Schema) -> bool:
    return found is wanted or wanted in found.parts


def _find_dataset(path: str) -> epath.Path:
    if not path:
        raise UserError(f"data.source is empty: {_PREPARE}, and give that FOLDER as --data.source")
    root = epath.Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"{path} is not a folder: {_PREPARE}, and give that FOLDER as data source")
    found = _datasets(root)
    if not found:
        raise UserError(f"{path} holds no dataset_info.json: {_PREPARE}, and give that FOLDER as data source")
    if len(found) > 1:
        raise UserError(f"{path} holds several data sets: give one of {', '.join(str(folder) for folder in found[:5])}")
    return found[0]


def _datasets(root: epath.Path) -> list[epath.Path]:
    """Return the data set folders nearest below `root`; hidden folders are skipped."""
    level = [root] if root.is_dir() else []
    for depth in range(_LEVELS + 1):
        if found := [folder for folder in level if (folder / "dataset_info.json").exists()]:
            return found
        if depth < _LEVELS:
            children = [child for folder in level for child in folder.iterdir() if not child.name.startswith(".")]
            level = sorted(child for child in children if child.is_dir())
    return []


def _count_shards(split: Any) -> dict[str, int]:
    """Return the non-empty shards of a split and their record counts, after checking that each is complete."""
    paths = [str(path) for path in split.filepaths]
    counts: dict[str, int] = {}
    for path, count, expected in zip(paths, readers.count_records(paths), split.shard_lengths, strict=True):
        if isinstance(count, readers.ShardError):
            raise UserError(f"{path} is missing or damaged ({count}): restore it, or {_PREPARE}") from count
        if count != expected:
            raise UserError(f"{path} holds {count} records but dataset_info.json says {expected}: {_PREPARE}")
        if count:
            counts[path] = count
    return counts
