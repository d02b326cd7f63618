"""Converts photos and their depth maps to ArrayRecord, one split or two."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from data_pipelines import preparation
from data_pipelines.dataset_kinds import DEPTHS, Counts
from data_pipelines.folder_units import FolderUnit, RecordPart, make_units
from data_pipelines.holdout import Splits
from data_pipelines.holdout_list import check_list
from data_pipelines.layouts import Layout
from data_pipelines.pairs import NO_DEPTH, Drop
from data_pipelines.preparation import ALL_CORES, LocalRun, PrepareProgress
from data_pipelines.prepare_report import PrepareReport
from samjax.core.errors import UserError
from samjax.core.ranges import Range, config_class
from samjax.data.annotations.depth_maps import DepthMapError, list_depth_maps, read_depth_map
from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.progress import Progress, no_progress
from samjax.data.records.depths import DepthKind, Record, encode_depths, encode_record, scaled_depths
from samjax.data.records.schema import RecordError

ALL_FOR_TRAINING = Splits()
NO_OPTIONS = FormatOptions()
SCALE = Range(at_least=0.01, at_most=1e6, why="numbers of a depth map are divided by it")


@config_class("")
class DepthUnits:
    """What the numbers of depth maps are."""

    kind: DepthKind = DepthKind.METRES
    """Distances or inverse distances."""
    scale: Annotated[float, SCALE] = 1.0
    """What they are divided by, to be metres or 1 / metres: 256 for KITTI, 1000 for millimetres."""

    def __str__(self) -> str:
        return f"depth as {self.kind.value}, numbers over {self.scale:g}"


METRES = DepthUnits()


class PhotoWithDepth(NamedTuple):
    """A photo and the file of its depth, see `folder_units.FolderPhoto`."""

    path: str
    image_id: int
    height: int
    width: int
    depth: str
    """The path of the depth map."""

    def description(self) -> str:
        """Return what the record depends on beside its files: nothing, as settings are compared apart."""
        return ""

    def files(self) -> Sequence[str]:
        """Return the depth map."""
        return (self.depth,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DepthUnit(FolderUnit):
    """Some `PhotoWithDepth` of one split."""

    expectation: ClassVar[str] = "a photo with a depth map"

    of: DepthUnits

    def encode(self, photo: PhotoWithDepth, identity: dict[str, Any], *, where: str) -> RecordPart | Drop:
        """Return the record of a photo, or why there is none: nothing is known of it, or its map holds no depth."""
        path = Path(photo.depth)
        try:
            numbers = read_depth_map(path)
            values = scaled_depths(numbers, self.of.scale)
        except (DepthMapError, RecordError) as error:
            return Drop(where=f"{where}, {path.name}", kind="broken depth map", detail=str(error)[:300])
        if numbers.shape != (photo.height, photo.width):
            detail = f"it is {numbers.shape[1]} x {numbers.shape[0]}, its photo {photo.width} x {photo.height}"
            return Drop(where=f"{where}, {path.name}", kind="broken depth map", detail=detail)
        if not values.any():
            return Drop(where=f"{where}, {path.name}", kind=NO_DEPTH, detail="no pixel of it has a known depth")
        record = Record(**identity, png=encode_depths(numbers), scale=self.of.scale, kind=self.of.kind)
        return RecordPart(encode_record(record), Counts(), path.stat().st_size)


def prepare(
    depths: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str],
    of: DepthUnits = METRES,
    options: FormatOptions = NO_OPTIONS,
    splits: Splits = ALL_FOR_TRAINING,
    allow_missing: bool = False,
    allow_unannotated: bool = False,
    run: LocalRun = ALL_CORES,
    watch: Callable[[PrepareProgress], None] = lambda watched: None,
    progress: Progress = no_progress,
) -> PrepareReport:
    """Write photos with depth as ArrayRecord to the folder `out`, or resume; readers open it once it is complete.

    Headers are read at every start; only of what is not done yet all of the photos and maps.

        prepare("depth", "records", images="photos", of=DepthUnits(scale=256), splits=Splits(holdout=0.1))

    Args:
      depths: the local folder of depth maps: grey PNGs of 8 or 16 bits, or .npy.
      out: the folder to make; it holds dataset_info.json at the end, and prepare_report.json. If it is already complete
        from the same photos and maps, nothing is done.
      images: the local folder of the photos.
      of: what the maps' numbers are; 0 is unknown.
      options: of which `photo_suffix`, `map_suffix` and `photos_from` count.
      splits: which photos go to which split.
      allow_missing: leave out and count what is missing or cannot be used.
      allow_unannotated: leave out and count photos without a depth map.
      run: on how many processes. The records are the same on any number.
      watch: called periodically with the progress of the photos.
      progress: shows the reading of headers.

    Raises:
      UserError: as `list_depth_maps`, or as `data_pipelines.preparation.prepare`; or a split is without photos.
    """
    settings = str(of) + splits.description

    def find(source: str | Sequence[str]) -> list[FolderUnit]:
        assert isinstance(source, str)
        store = ImageFolder(os.fspath(images))
        listing = list_depth_maps(
            source,
            images=store,
            options=options,
            allow_missing=allow_missing,
            allow_unannotated=allow_unannotated,
            progress=progress,
        )
        left_out = {
            **listing.left_out,
            **check_list(splits.holdout_names, [one.path for one in listing.photos], allow_missing=allow_missing),
        }
        photos: dict[str, list[PhotoWithDepth]] = {split: [] for split in splits.names}
        for number, one in enumerate(listing.photos, 1):
            height, width = one.size
            photos[splits.split_of(one.path)].append(
                PhotoWithDepth(path=one.path, image_id=number, height=height, width=width, depth=one.depth)
            )
        for split, chosen in photos.items():
            if not chosen:
                raise UserError(_empty(split, len(listing.photos), splits))
        make = functools.partial(DepthUnit, of=of)
        folder = Path(os.path.abspath(store.path))
        return make_units(make, photos, folder=folder, left_out=left_out, settings=settings)

    layout = Layout(
        kind=DEPTHS,
        find_units=find,
        expectation="photos with depth maps",
        settings=settings,
        splits=splits.names,
        option="--images",
    )
    return preparation.prepare(os.fspath(depths), out, layout=layout, run=run, watch=watch)


def _empty(split: str, photos: int, splits: Splits) -> str:
    """Return a sentence on a split without photos."""
    if not splits.holds_out or not photos:
        return "no photo has a depth map that can be used: give the folders that belong together"
    return f"none of the {photos:,} photos falls into the split {split}, as their names decide: {splits.remedy}"
