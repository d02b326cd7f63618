"""BSDS500 as it is distributed: photos, and for each a MATLAB file of what several people drew.

BSDS500/data/images/{train,val,test}/ID.jpg
BSDS500/data/groundTruth/{train,val,test}/ID.mat
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from samjax.core.errors import UserError
from samjax.core.text import printable
from samjax.data.annotations.listing import files_in
from samjax.data.annotations.problems import Problems
from samjax.data.photo import Orientation, Photo, read_photo, stored_size
from samjax.eval.protocols.edges.bsds_boundaries import read_boundaries

_LEVELS = ("", "data", "BSDS500/data", "BSR/BSDS500/data")
"""Where under the folder that a user gives `images` and `groundTruth` may lie."""
_PICTURES = (".jpg", ".jpeg", ".png")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class EdgePhoto:
    """A photo and its annotators' boundaries; both are read when they are asked for."""

    id: str
    path: Path
    truth: Path
    height: int
    width: int

    def read(self) -> Photo:
        """Return the pixels as stored.

        Raises:
          UserError: the photo is damaged.
        """
        return read_photo(self.path, orientation=Orientation.STORED, size=(self.height, self.width))

    def boundaries(self) -> list[Bool[np.ndarray, "h w"]]:
        """Return where each annotator saw a boundary.

        Raises:
          UserError: the file has changed since the data set was opened, and is no longer what it was.
        """
        try:
            return read_boundaries(self.truth)
        except ValueError as error:
            raise UserError(f"{self.truth} {error}") from error


@dataclass(frozen=True, kw_only=True)
class EdgeDataset:
    """Photos with boundaries, in the order of their ids."""

    name: str
    photos: Sequence[EdgePhoto]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What of the data is not in `photos`, and how much of it."""


def open_bsds(
    path: str | Path, *, split: str = "test", allow_missing: bool = False, allow_unannotated: bool = False
) -> EdgeDataset:
    """Open a split of BSDS500, or a folder whose `images` and `groundTruth` are not split.

    Raises:
      UserError: there are no such folders or no photo in them; or, all of it in one message and unless
        `allow_missing`, ground truth without a photo, photos of one name, files that cannot be read, ground truth
        without an annotator or of another size than its photo; unless `allow_unannotated`, photos without ground truth.
    """
    images, truths, name = _folders(Path(path).expanduser(), split)
    named: dict[str, list[Path]] = {}
    problems = Problems(str(path))
    for photo in files_in(images):
        if photo.suffix.lower() in _PICTURES:
            named.setdefault(photo.stem, []).append(photo)
    for those in named.values():
        if len(those) > 1:
            problems.add("photos that are there twice", " and ".join(photo.name for photo in those))
    found = {stem: those[0] for stem, those in named.items() if len(those) == 1}
    drawn = {truth.stem: truth for truth in files_in(truths) if truth.suffix == ".mat"}
    if not named:
        raise UserError(f"{images} holds no photo ({', '.join(_PICTURES)}): give the folder that BSDS500 came in")
    for stem in sorted(drawn.keys() - named):
        problems.add("ground truth files without a photo", drawn[stem].name)
    for stem in sorted(found.keys() - drawn):
        problems.add_without_annotations("photos without ground truth", found[stem].name)
    photos = list(_photos({stem: (found[stem], drawn[stem]) for stem in found if stem in drawn}, problems))
    left_out = problems.settle(allow_missing=allow_missing, allow_unannotated=allow_unannotated)
    if not photos:
        raise UserError(f"{path}: of {len(found):,} photos none can be evaluated on: {problems.counts()}")
    return EdgeDataset(name=name, photos=photos, left_out=left_out)


def _folders(root: Path, split: str) -> tuple[Path, Path, str]:
    """Return the folders of photos and ground truth, and what to call them.

    Raises:
      UserError: there are none.
    """
    for level in _LEVELS:
        images, truths = root / level / "images", root / level / "groundTruth"
        if images.is_dir() and truths.is_dir():
            break
    else:
        raise UserError(
            f"{root} has no folders images and groundTruth: give the folder that BSDS500 came in, or one of that form"
        )
    if (images / split).is_dir() and (truths / split).is_dir():
        return images / split, truths / split, f"BSDS500 {split}"
    splits = [one for one in SPLITS if (images / one).is_dir() and (truths / one).is_dir()]
    if splits:
        raise UserError(f"{images} has no split {split}, in both images and groundTruth: give --split {splits[0]}")
    return images, truths, printable(root.name or str(root))


def _photos(pairs: Mapping[str, tuple[Path, Path]], problems: Problems) -> Iterator[EdgePhoto]:
    for stem, (photo, truth) in pairs.items():
        try:
            height, width = stored_size(photo)
        except UserError as error:
            problems.add("photos that cannot be read", f"{photo.name}: {error}")
            continue
        try:
            boundaries = read_boundaries(truth)
        except ValueError as error:
            problems.add("ground truth files that cannot be used", f"{truth.name} {error}")
            continue
        if boundaries[0].shape != (height, width):
            tall, wide = boundaries[0].shape
            sizes = f"{truth.name}: {wide} x {tall}, its photo {width} x {height}"
            problems.add("ground truth files of another size than their photo", sizes)
            continue
        yield EdgePhoto(id=stem, path=photo, truth=truth, height=height, width=width)
