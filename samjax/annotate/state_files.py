"""`sa_<id>.json` and `sa_<id>.jpg` of an annotation folder: read, kept in memory while in use, and replaced whole."""

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from samjax.annotate.folder_about import INSIDE
from samjax.annotate.photo_list import PhotoList
from samjax.annotate.photo_state import DamagedError, PhotoState, read_state
from samjax.annotate.refusals import NotSavedError
from samjax.core.errors import UserError
from samjax.core.files import write_whole
from samjax.core.text import printable

log = logging.getLogger(__name__)

_IN_MEMORY = 256
"""Photos whose masks stay in memory."""


class StateFiles:
    """The pairs of an annotation folder. Not safe to use from several threads at once."""

    def __init__(
        self,
        folder: Path,
        photos: PhotoList,
        *,
        last_event: Callable[[int], int],
        rebuild: Callable[[int], PhotoState],
    ):
        """Say where the files are.

        Args:
          last_event: gives the number of the last event that changed a photo's JSON, 0 if there was none.
          rebuild: makes a photo's state from the events, for a JSON that is damaged, gone or old.
        """
        self.folder, self.photos = folder, photos
        self._last_event, self._rebuild = last_event, rebuild
        self._recent: OrderedDict[int, PhotoState] = OrderedDict()

    def state(self, id: int) -> PhotoState:
        """Return the masks of a photo.

        Raises:
          NotSavedError: its JSON had to be made again, and cannot be written.
          UnknownPhotoError: there is no such photo.
          UserError: its JSON cannot be read, or is of a photo of another size.
        """
        if id not in self._recent:
            self._keep(self._read(id))
        self._recent.move_to_end(id)
        return self._recent[id]

    def _read(self, id: int) -> PhotoState:
        path = self.json_path(id)
        try:
            state = read_state(path, self.photos[id])
            if state.event >= self._last_event(id):
                return state
            log.warning("%s lacks what the events say: it is made again from them", path)
        except DamagedError as error:
            log.warning("%s: it is made again from the events", printable(str(error)))
        state = self._rebuild(id)
        self.write(state)
        return state

    def jpeg(self, id: int) -> bytes:
        """Return the photo's stored JPEG, or the one that will be stored with the first mask.

        Raises:
          UserError: it cannot be read.
        """
        path = self.jpeg_path(id)
        if not path.exists():
            return self.photos.jpeg(id)
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror or error})") from error

    def write(self, state: PhotoState) -> None:
        """Replace the photo's JSON by one of this state; the first time the JPEG is written before it.

        Raises:
          NotSavedError: the disk is full or fails; the files are as before.
          UserError: the photo cannot be read.
        """
        id = state.photo.id
        jpeg = self.jpeg_path(id)
        is_new = not jpeg.exists()
        content = self.photos.jpeg(id) if is_new else b""
        try:
            if is_new:
                write_whole(jpeg, content)
            write_whole(self.json_path(id), state.write_text())
        except BaseException as error:
            self.forget(id)
            if is_new and not self.json_path(id).exists():  # a photo without its JSON counts as broken
                with contextlib.suppress(OSError):
                    jpeg.unlink(missing_ok=True)
            if isinstance(error, UserError):
                raise NotSavedError(str(error)) from error
            raise
        self._keep(state)

    def is_on_disk(self, state: PhotoState) -> bool:
        """Return whether the photo's JSON is of this state: a write may fail after it was renamed."""
        try:
            return self.json_path(state.photo.id).read_text() == state.write_text()
        except (OSError, ValueError):
            return False

    def clean(self) -> None:
        """Remove what kills left: partial files, and JPEGs of photos that have neither a JSON nor an event.

        Call it with the folder's lock held.
        """
        with contextlib.suppress(OSError):
            for path in [*self.folder.glob(".sa_*.partial"), *self.folder.glob(f"{INSIDE}/proposals/.*.partial")]:
                path.unlink(missing_ok=True)
            for id in self.photos:
                if not self._last_event(id) and not self.json_path(id).exists():
                    self.jpeg_path(id).unlink(missing_ok=True)

    def forget(self, id: int) -> None:
        """Read the photo's masks again when they are needed next."""
        self._recent.pop(id, None)

    def json_path(self, id: int) -> Path:
        """Return where the photo's masks are."""
        return self.folder / f"sa_{id}.json"

    def jpeg_path(self, id: int) -> Path:
        """Return where the photo is once it has masks."""
        return self.folder / f"sa_{id}.jpg"

    def _keep(self, state: PhotoState) -> None:
        self._recent[state.photo.id] = state
        self._recent.move_to_end(state.photo.id)
        while len(self._recent) > _IN_MEMORY:
            self._recent.popitem(last=False)
