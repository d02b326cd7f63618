"""Where records are: a folder prepared by TFDS, read at random through all its ArrayRecord shards, or nowhere."""

from pathlib import Path
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from etils import epath

from samjax.core.errors import UserError
from samjax.data import records
from samjax.data.synthetic import SyntheticSource, is_synthetic, parse_synthetic

_PREPARE = "prepare it with `samjax data prepare --source TARS --out FOLDER`"
_LEVELS = 2  # TFDS nests a data set as name/version


@runtime_checkable
class RecordSource(Protocol):
    """Random access to encoded records."""

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: SupportsIndex) -> bytes: ...


class ArrayRecordSource:
    """Random access to the encoded records of one or more splits, in the order of their shards."""

    def __init__(self, *, name: str, shards: list[str]):
        self.name = name
        self._shards = ArrayRecordDataSource(shards)

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, index: SupportsIndex) -> bytes:
        """Return the bytes of record `index`.

        Raises:
          RecordError: the shard is damaged there.
        """
        try:
            return self._shards[index]
        except Exception as error:  # ArrayRecord passes C++ status on as several types
            detail = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise records.RecordError(f"cannot be read from its shard: {detail[:200]}") from error

    def __repr__(self) -> str:
        return f"ArrayRecordSource({self.name}, {len(self)} records)"


def is_sa1b_layout(path: str) -> bool:
    """Return whether `path` names photos in the SA-1B layout: a tar, a glob of tars, a folder of tars or of pairs."""
    if path.endswith(".tar"):
        return True
    folder = Path(path)
    if not folder.is_dir() or (folder / "dataset_info.json").exists():
        return False
    return any(next(folder.glob(pattern), None) for pattern in ("*.tar", "sa_*.json"))


def holds_records(path: str) -> bool:
    """Return whether `path` is a folder prepared by `samjax data prepare`, or one up to two levels above such."""
    folder = Path(path).expanduser()
    return any(next(folder.glob("*/" * level + "dataset_info.json"), None) for level in range(_LEVELS + 1))


def open_source(path: str, split: str) -> RecordSource:
    """Return the records of `split` in a prepared folder, or synthetic ones.

    Args:
      path: the folder that holds dataset_info.json, or one up to two levels above it that holds no other data set; or
        `synthetic:` and its parameters.
      split: a split's name, or several as `train+extra`.

    Raises:
      UserError: no such folder or split, an empty one, another schema or file format, a missing or damaged shard.
    """
    if is_synthetic(path):
        return SyntheticSource(parse_synthetic(path), split=split)
    info, folder = open_info(path)
    shards: list[str] = []
    for name in split.split("+"):
        if name not in info.splits:
            raise UserError(f"{folder} has no split {name!r}: it has {', '.join(info.splits) or 'none'}")
        shards += _shards(info.splits[name])
    if not shards:
        raise UserError(f"split {split!r} of {folder} is empty: {_PREPARE}")
    return ArrayRecordSource(name=f"{folder} {split}", shards=shards)


def open_info(path: str) -> tuple[tfds.core.DatasetInfo, epath.Path]:
    """Return what a prepared folder says of itself, and the folder that holds its dataset_info.json.

    Raises:
      UserError: no such folder, another schema or file format.
    """
    folder = _find_dataset(path)
    try:
        info = tfds.builder_from_directory(folder).info
    except Exception as error:  # whatever a damaged dataset_info.json or features.json raises
        raise UserError(f"{folder} holds no readable TFDS data set ({error}): {_PREPARE}") from error
    if info.features is None or info.features.get_serialized_info() != records.features().get_serialized_info():
        raise UserError(f"{folder} holds records of another schema than TFDS's segment_anything: {_PREPARE}")
    if info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise UserError(f"{folder} holds {info.file_format} files, not array_record: {_PREPARE}")
    return info, folder


def _find_dataset(path: str) -> epath.Path:
    if not path:
        raise UserError(f"data.source is empty: {_PREPARE}, and give that FOLDER as --data.source")
    root = epath.Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"{path} is not a folder: {_PREPARE}, and give that FOLDER as data source")
    level = [root]
    for depth in range(_LEVELS + 1):
        if found := [folder for folder in level if (folder / "dataset_info.json").exists()]:
            break
        if depth < _LEVELS:
            level = sorted(child for folder in level for child in folder.iterdir() if child.is_dir())
    else:
        raise UserError(f"{path} holds no dataset_info.json: {_PREPARE}, and give that FOLDER as data source")
    if len(found) > 1:
        raise UserError(f"{path} holds several data sets: give one of {', '.join(str(folder) for folder in found[:5])}")
    return found[0]


def _shards(split: Any) -> list[str]:
    """Return the shards of a split that hold records, after checking that each is whole."""
    shards = []
    for path, expected in zip(split.filepaths, split.shard_lengths, strict=True):
        try:
            count = len(ArrayRecordDataSource(str(path)))
        except Exception as error:
            raise UserError(f"{path} is missing or damaged: restore it, or {_PREPARE}") from error
        if count != expected:
            raise UserError(f"{path} holds {count} records but dataset_info.json says {expected}: {_PREPARE}")
        if count:
            shards.append(str(path))
    return shards
