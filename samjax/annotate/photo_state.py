"""All masks of one photo: what its JSON holds, and what an event makes of it."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from samjax.annotate.event_log import Act, Event
from samjax.annotate.mask_annotation import from_annotation
from samjax.annotate.photo_list import ListedPhoto
from samjax.annotate.refusals import InvalidMaskError
from samjax.annotate.saved_mask import MaskVerdict, SavedMask
from samjax.core.errors import UserError
from samjax.core.text import printable


class DamagedError(UserError):
    """A photo's JSON is not what was written."""


@dataclass(frozen=True)
class Annotation:
    """A mask of the photo, and its text in the JSON: a photo of a thousand masks is written without encoding them."""

    content: dict[str, Any]

    @cached_property
    def text(self) -> str:
        """The mask as JSON."""
        return _dump(self.content)

    @cached_property
    def mask(self) -> SavedMask:
        """The mask as an object."""
        return from_annotation(self.content)


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """What is kept of a deleted mask, so that its id is never given to another and a commit can bring it back."""

    id: int
    revision: int


@dataclass(frozen=True, kw_only=True)
class PhotoState:
    """The masks of a photo after some event. Equal states write equal files."""

    photo: ListedPhoto
    annotations: Mapping[str, Annotation] = field(default_factory=dict)
    """By UUID."""
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)
    """Of deleted masks, by UUID."""
    places: int = 0
    """How many masks the photo has ever had."""
    event: int = 0
    """Number of the last event that changed the photo."""
    finisher: str | None = None
    """Who said that the photo is done."""

    def after(self, event: Event) -> "PhotoState":
        """Return the state after an event of the photo; one that changes no mask returns an equal state.

        Details of events: ADD and CHANGE have `mask`, an annotation; ACCEPT has `masks` and `numbers`, of proposals;
        IMPORT has `masks`; DELETE has `uuid` and `revision`; so have STATE and VERDICT if they delete a mask. VERDICT
        has `verdict`, and `mask` if the mask stays.
        """
        if not event.changes_photo:
            return self
        details = event.details
        annotations, tombstones = dict(self.annotations), dict(self.tombstones)
        places, finisher = self.places, self.finisher
        for content in [details["mask"]] if "mask" in details else details.get("masks", ()):
            uuid = content["uuid"]
            annotations[uuid] = Annotation(content)
            places += uuid not in self.annotations and tombstones.pop(uuid, None) is None
        if "uuid" in details:
            uuid = details["uuid"]
            tombstones[uuid] = Tombstone(id=annotations.pop(uuid).content["id"], revision=details["revision"])
        if event.act is Act.DONE:
            finisher = event.annotator
        elif event.act is Act.VERDICT and details["verdict"] == MaskVerdict.REDO.value:
            finisher = None
        return replace(
            self, annotations=annotations, tombstones=tombstones, places=places, event=event.number, finisher=finisher
        )

    def masks(self) -> list[SavedMask]:
        """Return the masks, in the order of their ids."""
        return [annotation.mask for annotation in self._ordered()]

    def size(self) -> int:
        """Return about how many bytes the masks take in the JSON."""
        return sum(len(annotation.text) for annotation in self.annotations.values())

    def write_text(self) -> str:
        """Return the photo's JSON."""
        photo = self.photo
        image = {
            "image_id": photo.id,
            "width": photo.width,
            "height": photo.height,
            "file_name": f"sa_{photo.id}.jpg",
            "source": printable(photo.source),
            "event": self.event,
            "places": self.places,
            "deleted": {uuid: [one.id, one.revision] for uuid, one in self.tombstones.items()},
            "done_by": self.finisher,
        }
        annotations = ",".join(annotation.text for annotation in self._ordered())
        return f'{{"image":{_dump(image)},"annotations":[{annotations}]}}'

    def _ordered(self) -> list[Annotation]:
        return sorted(self.annotations.values(), key=lambda annotation: annotation.content["id"])


def read_state(path: Path, photo: ListedPhoto) -> PhotoState:
    """Return the state of a photo whose JSON is at `path`; a new one if there is none.

    Raises:
      DamagedError: the JSON is damaged.
      UserError: it cannot be read, or is of a photo of another size.
    """
    with _told(path):
        content = _load(path)
        if content is None:
            return PhotoState(photo=photo)
        image = content["image"]
        size = (image["width"], image["height"])
        state = PhotoState(
            photo=photo,
            annotations={one["uuid"]: Annotation(one) for one in content["annotations"]},
            tombstones={
                uuid: Tombstone(id=number, revision=revision) for uuid, (number, revision) in image["deleted"].items()
            },
            places=image["places"],
            event=image["event"],
            finisher=image["done_by"],
        )
        state.masks()
    if size != (photo.width, photo.height):
        raise UserError(
            f"{photo.source} is {photo.width} x {photo.height}, its masks in {path.name} are of {size[0]} x {size[1]}: "
            "restore the photo, or exclude it from --images"
        )
    return state


def written_event(path: Path) -> int:
    """Return the number of the last event that a photo's JSON at `path` has in it, 0 if there is none.

    Raises:
      DamagedError: the JSON is damaged.
      UserError: it cannot be read.
    """
    with _told(path):
        content = _load(path)
        return 0 if content is None else int(content["image"]["event"])


def _load(path: Path) -> Any:
    """Return the content of a JSON, None if there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn errors about a photo's JSON into one sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
    except (InvalidMaskError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _dump(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), allow_nan=False)
