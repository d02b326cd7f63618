"""The folder of an evaluation: the request and the results per photo so far, so that it can resume after a kill."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.files import sync_open, write_whole
from samjax.core.folder import check_request, lock_folder, read_request
from samjax.core.text import printable

_ABOUT, _RECORDS, _DATA = "evaluation.json", "photos.jsonl", "data.sha256"


class EvaluationFolder:
    """Results of photos by key, one line of JSON each in `photos.jsonl`: on disk as soon as they are recorded."""

    def __init__(self, path: Path):
        self.path = path
        self._records, end = _read_records(path / _RECORDS)
        self._file = open(path / _RECORDS, "ab")  # noqa: SIM115
        self._file.truncate(end)  # a line that a kill cut short

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __getitem__(self, key: str) -> Any:
        return self._records[key]

    def __len__(self) -> int:
        return len(self._records)

    def record(self, key: str, result: Any) -> None:
        """Record a photo's result, any JSON value. Keys are up to the protocol, such as `DATASET/ID`.

        Raises:
          UserError: it cannot be written; earlier records are kept.
        """
        line = json.dumps([key, result], separators=(",", ":"), allow_nan=False)
        try:
            self._file.write(line.encode() + b"\n")
            sync_open(self._file, folder=self.path)
        except OSError as error:
            raise UserError(
                f"{self.path / _RECORDS} cannot be written ({error.strerror or error}): free some room, and run again "
                "with --resume"
            ) from error
        self._records[key] = json.loads(line)[1]  # what a resumed run would read

    def check_data(self, photos: Iterable[str]) -> None:
        """Record which photos are evaluated; in a resumed evaluation, check that they have not changed.

        Records refer to photos by id: in changed data, an id may mean another photo.

        Args:
          photos: of each photo its key, name and size, and what is evaluated on it.

        Raises:
          UserError: they have changed.
        """
        digest = hashlib.sha256()
        for one in photos:
            digest.update(printable(one).encode() + b"\n")
        file = self.path / _DATA
        if not file.exists():
            write_whole(file, digest.hexdigest() + "\n")
        elif file.read_text().strip() != digest.hexdigest():
            raise UserError(
                f"--out {self.path} was begun with other data: photos or annotations have changed since. Give another "
                "--out, or restore the earlier data"
            )

    def close(self) -> None:
        """Close the file. Errors of a full disk were raised when recording."""
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def open_evaluation(path: str | Path, *, request: Mapping[str, Any], resume: bool) -> Iterator[EvaluationFolder]:
    """Create or open the folder of an evaluation, and lock it against other processes.

    Args:
      request: everything that the results depend on, as JSON; a resumed evaluation must have the same.
      resume: continue with the existing records.

    Raises:
      UserError: the folder exists and `resume` is not given, it was begun with another request, or it is no evaluation.
    """
    folder = Path(path).expanduser()
    about = folder / _ABOUT
    wanted = json.loads(json.dumps(request))
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file; give a folder")
    existing = sorted(entry.name for entry in folder.iterdir() if entry.name != ".lock") if folder.exists() else []
    if existing and not about.exists():
        raise UserError(f"--out {folder} holds {existing[0]}, which samjax evaluate did not write: give another folder")
    if existing and not resume:
        raise UserError(f"--out {folder} holds an evaluation: give --resume to resume it, or another folder")
    with lock_folder(folder, option="--out"):
        if existing:
            check_request(read_request(about), wanted, sentence=f"--out {folder} was begun")
        else:
            write_whole(about, json.dumps(wanted, indent=1) + "\n")
        evaluation = EvaluationFolder(folder)
        try:
            yield evaluation
        finally:
            evaluation.close()


def _read_records(path: Path) -> tuple[dict[str, Any], int]:
    """Return what is recorded, and where its last whole line ends.

    Raises:
      UserError: a line that is followed by others is damaged.
    """
    records: dict[str, Any] = {}
    end = 0
    if not path.exists():
        return records, end
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                key, result = json.loads(line)
            except (ValueError, TypeError):
                raise UserError(
                    f"{path}, line {number} is damaged: give another --out, or remove {path.parent} to start over"
                ) from None
            records[key] = result
            end += len(line)
    return records, end
