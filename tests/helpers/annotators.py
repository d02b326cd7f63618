"""Photos to annotate, masks to commit, and what the folder must then hold."""

import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from samjax.annotate.annotation_folder import EVENTS, AnnotationFolder, open_annotations
from samjax.annotate.event_log import Act, read_events
from samjax.annotate.photo_list import PhotoList, open_photos
from samjax.annotate.photo_state import PhotoState
from samjax.annotate.proposal import Proposal
from samjax.annotate.saved_mask import Prompts, SavedMask, Source
from samjax.data.masks.rle import encode

HEIGHT, WIDTH = 24, 32


def make_photos(folder: Path, count: int = 3) -> str:
    """Write photos of 24 x 32 pixels and return the pattern that matches them."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        pixels = draw.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return str(folder / "*.jpg")


def open_folder(place: Path, count: int = 3, **settings) -> AnnotationFolder:
    """Open the annotation folder place/out of the photos in place/photos, made if they are not there."""
    pattern = str(place / "photos" / "*.jpg")
    if not (place / "photos").exists():
        make_photos(place / "photos", count)
    return open_annotations(place / "out", open_photos([pattern], place / "out"), settings)


def rectangle(place: int = 0) -> dict:
    """Return the runs of one of many different rectangles."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    top, left = place % 12, place // 12 % 16
    mask[top : top + 5, left : left + 6] = True
    return encode(mask)


def new_uuid(seed: int) -> str:
    return str(uuid.UUID(bytes=np.random.default_rng(seed).bytes(16), version=4))


def some_mask(seed: int = 0, *, annotator: str = "ann", place: int | None = None, **fields) -> SavedMask:
    """Return a mask whose UUID is `seed`'s."""
    given = {
        "uuid": new_uuid(seed),
        "runs": rectangle(seed if place is None else place),
        "source": Source.CLICKS,
        "annotator": annotator,
        "seconds": 2.0,
        "active_seconds": 1.5,
        "clicks": 1,
        "model": "vit_b",
        "predicted_iou": 0.9,
        "stability_score": 0.95,
        "prompts": Prompts(points=((3.0, 4.5),), labels=(1,)),
    }
    return SavedMask(**given | fields)


def some_proposals(*ious: float) -> list[Proposal]:
    return [
        Proposal(
            number=number,
            runs=rectangle(40 + number),
            bbox=(0.0, 0.0, 5.0, 4.0),
            predicted_iou=iou,
            stability_score=0.9,
            point=(3.0, 3.0),
        )
        for number, iou in enumerate(ious)
    ]


def files_say(out: Path) -> dict[int, str]:
    """Return the text of each photo's JSON."""
    return {int(path.stem.removeprefix("sa_")): path.read_text() for path in out.glob("sa_*.json")}


def events_say(out: Path, photos: PhotoList) -> dict[int, str]:
    """Return what the text of each photo's JSON must be by the events alone."""
    states: dict[int, PhotoState] = {}
    for event in read_events(out / EVENTS):
        if event.changes_photo:
            state = states.get(event.photo) or PhotoState(photo=photos[event.photo])
            states[event.photo] = state.after(event)
    return {id: state.write_text() for id, state in states.items()}


def agree(folder: AnnotationFolder) -> bool:
    """Return whether the events, the files and what the folder says of them are the same."""
    on_disk, said = files_say(folder.path), events_say(folder.path, folder.photos)
    shown = {id: sorted(mask.uuid for mask in folder.masks(id)) for id in folder.photos}
    counted = {id: sorted(folder.progress.photo(id).masks) for id in folder.photos}
    names = {path.stem for path in folder.path.glob("sa_*.jpg")}
    return on_disk == said and shown == counted and names == {f"sa_{id}" for id in said}


def leased_by_one(out: Path) -> None:
    """Check by the events alone that a photo was free, or its own annotator's, whenever it was leased."""
    owner: dict[int, str] = {}
    for event in read_events(out / EVENTS):
        if event.act is Act.LEASE:
            assert owner.get(event.photo, event.annotator) == event.annotator
            assert event.annotator not in {name for photo, name in owner.items() if photo != event.photo}
            owner[event.photo] = event.annotator
        elif event.act in (Act.RELEASE, Act.EXPIRE):
            assert owner.pop(event.photo) == event.annotator
