"""A folder of label maps, one a photo, and pictures of them."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16, UInt8
from PIL import Image

from samjax.core.errors import UserError
from samjax.core.files import tell_write_errors, write_png, write_whole
from samjax.core.folder import check_request, read_request
from samjax.pictures.class_map import legend, overlay_classes
from samjax.pictures.colours import Colour
from samjax.pictures.depth_picture import paint_depth
from samjax.predict.semantic.depth_predictor import sixteen_bits

ABOUT = "segment.json"
LABELS, OVERLAYS = "labels", "overlays"


class LabelFolder:
    """`labels/NAME.png`, each pixel its class's number, and `overlays/NAME.png`; the label map is written last.

    Maps have a palette where there are at most 256 classes, so that they show colours; else they are grey of 16 bits.
    `segment.json` says what they were made with, which class is which number, and the name of each photo.
    """

    def __init__(self, path: Path, *, names: Mapping[str, str], classes: Sequence[str], colours: Sequence[Colour]):
        self.path = path
        self._names, self._classes, self._colours = names, tuple(classes), tuple(colours)

    def is_done(self, photo: str) -> bool:
        """Return whether the photo's label map is there; `photo` is its key."""
        return self._place(LABELS, photo).exists()

    def write(
        self, photo: str, pixels: UInt8[np.ndarray, "h w 3"], classes: Int16[np.ndarray, "h w"], *, draw: bool
    ) -> None:
        """Write a photo's label map, and with `draw` its overlay: with a legend of the classes that it has."""
        if draw:
            write_png(self._place(OVERLAYS, photo), draw_classes(pixels, classes, self._classes, self._colours))
        if len(self._classes) <= 256:
            picture = Image.fromarray(classes.astype(np.uint8), mode="P")
            picture.putpalette([shade for colour in self._colours for shade in colour])
        else:
            picture = Image.fromarray(classes.astype(np.uint16))
        encoded = io.BytesIO()
        picture.save(encoded, format="PNG")
        write_whole(self._place(LABELS, photo), encoded.getvalue())

    def write_depth(
        self, photo: str, pixels: UInt8[np.ndarray, "h w 3"], depth: Float32[np.ndarray, "h w"], *, draw: bool
    ) -> None:
        """Write a photo's inverse depth as grey of 16 bits, least to greatest, and with `draw` the photo beside it."""
        if draw:
            write_png(self._place(OVERLAYS, photo), np.concatenate([pixels, paint_depth(depth)], axis=1))
        encoded = io.BytesIO()
        Image.fromarray(sixteen_bits(depth)).save(encoded, format="PNG")
        write_whole(self._place(LABELS, photo), encoded.getvalue())

    def _place(self, kind: str, photo: str) -> Path:
        return self.path / kind / f"{self._names[photo]}.png"


def draw_classes(
    photo: UInt8[np.ndarray, "h w 3"],
    classes: Int16[np.ndarray, "h w"],
    names: Sequence[str],
    colours: Sequence[Colour],
) -> UInt8[np.ndarray, "drawn_h drawn_w 3"]:
    """Return the photo tinted by its classes, with a legend of those that it has beside it, the largest first."""
    counts = np.bincount(classes[classes >= 0].ravel(), minlength=len(names))
    there = [int(number) for number in np.argsort(-counts, kind="stable") if counts[number]]
    picture = overlay_classes(photo, classes, colours)
    strip = legend(
        [f"{names[number]} {counts[number] / classes.size:.0%}" for number in there],
        [colours[number] for number in there],
        height=picture.shape[0],
    )
    return np.concatenate([_as_high(picture, len(strip)), strip], axis=1)


def open_label_folder(
    path: str | Path,
    *,
    checkpoint: str,
    settings: Mapping[str, Any],
    photos: Sequence[str],
    classes: Sequence[str],
    colours: Sequence[Colour],
) -> LabelFolder:
    """Return the folder for label maps of `photos`, by key: a new one, or one that an earlier run started.

    Raises:
      UserError: it holds something else, was started with another checkpoint or other settings, or cannot be written.
    """
    folder = Path(path)
    made_by = json.loads(json.dumps({"checkpoint": checkpoint, "settings": settings, "classes": list(classes)}))
    with tell_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        names: dict[str, str] = {}
        if (folder / ABOUT).exists():
            before = read_request(folder / ABOUT, fields={"photos": dict})
            names = before.pop("photos")
            check_request(before, made_by, sentence=f"--out {folder} was begun")
        elif others := sorted(one.name for one in folder.iterdir()):
            raise UserError(f"--out {folder} holds {others[0]}, not of samjax segment: give another folder")
        for kind in (LABELS, OVERLAYS):
            (folder / kind).mkdir(exist_ok=True)
        names = name_photos(names, photos)
        write_whole(folder / ABOUT, json.dumps({**made_by, "photos": names}, indent=1) + "\n")
    return LabelFolder(folder, names=names, classes=classes, colours=colours)


def name_photos(named: Mapping[str, str], photos: Sequence[str]) -> dict[str, str]:
    """Return a file name for each photo, by key: that of its file, with a number where several have one name."""
    names = dict(named)
    taken = Counter(names.values())
    for photo in photos:
        if photo not in names:
            stem = name = PurePosixPath(photo).stem or "photo"
            number = 1
            while taken[name]:
                number += 1
                name = f"{stem}_{number}"
            taken[name] += 1
            names[photo] = name
    return names


def _as_high(picture: UInt8[np.ndarray, "h w 3"], height: int) -> UInt8[np.ndarray, "_ w 3"]:
    return np.pad(picture, ((0, height - len(picture)), (0, 0), (0, 0)), constant_values=255)
