"""The folder of one evaluation: what was requested, and what each photo gave so far, so that a killed one can go on."""

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
    """Results of photos by their keys, a line of JSON each in `photos.jsonl`: on disk as soon as they are recorded."""

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
        """Keep what a photo gave: anything JSON holds. Keys are a protocol's own, such as `DATASET/ID`.

        Raises:
          UserError: it cannot be written; what was kept before is there.
        """
        line = json.dumps([key, result], separators=(",", ":"), allow_nan=False)
        try:
            self._file.write(line.encode() + b"\n")
            sync_open(self._file, folder=self.path)
        except OSError as error:
            raise UserError(
                f"{self.path / _RECORDS} cannot be written ({error.strerror or error}): free some room, and go on with "
                "--resume"
            ) from error
        self._records[key] = json.loads(line)[1]  # what a resumed run would read

    def check_data(self, photos: Iterable[str]) -> None:
        """Keep what the photos are, or, in an evaluation that is resumed, check that they are what they were.

        A record is of a photo by its number: in other data, that may be another photo.

        Args:
          photos: of each photo its key, name and size, and what is evaluated on it.

        Raises:
          UserError: they are not what they were.
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
                "--out, or bring back what there was"
            )

    def close(self) -> None:
        """Let go of the file. What a full disk has refused was told when it was recorded."""
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def open_evaluation(path: str | Path, *, request: Mapping[str, Any], resume: bool) -> Iterator[EvaluationFolder]:
    """Hold the folder of an evaluation, made if it is not there, against other processes.

    Args:
      request: all that its figures depend on, as JSON holds it; a resumed evaluation must request the same.
      resume: go on with what is there.

    Raises:
      UserError: something is there and `resume` is not given, it was begun otherwise, or is something else.
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
        raise UserError(f"--out {folder} holds an evaluation: give --resume to go on with it, or another folder")
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
                    f"{path}, line {number} is damaged: give another --out, or remove {path.parent} to begin anew"
                ) from None
            records[key] = result
            end += len(line)
    return records, end
