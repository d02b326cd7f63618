"""SA-1B tars -> ArrayRecord, in TFDS's own `segment_anything` schema, without TensorFlow or Beam.

python -m data_pipelines.sa1b --source TARS --out FOLDER
"""

import collections
import contextlib
import dataclasses
import io
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
import tyro

from data_pipelines.tars import Drop, Pair, Stray, find_tars, read_tar
from samjax.core.errors import UserError
from samjax.data import records, rle, transforms
from samjax.data.tolerance import TOLERATED, too_many

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """What a preparation read, wrote and dropped."""

    tars: int
    records: int
    """Written."""
    masks: int
    """Written."""
    dropped: int
    """Records not written."""
    reasons: dict[str, int]
    """Dropped records by kind of fault."""
    examples: tuple[str, ...]
    """The first dropped records in full."""
    ignored_members: int
    """Members of the tars that are no part of a record."""


class DescriptionError(ValueError):
    """A JSON that is not SA-1B's; the message names the field."""


_KINDS: dict[type[Exception], str] = {
    DescriptionError: "not SA-1B JSON",
    rle.RleError: "broken mask",
    transforms.PhotoError: "broken photo",
}


def parse_pair(pair: Pair) -> records.Record:
    """Return the record that a photo and its SA-1B description make.

    Raises:
      DescriptionError, rle.RleError, transforms.PhotoError: why they make none.
    """
    try:
        described = json.loads(pair.text)
    except (ValueError, RecursionError) as error:
        raise DescriptionError(f"not JSON: {error}") from error
    image = _member(described, "image", dict)
    height, width = _count(image, "height"), _count(image, "width")
    rle.check_size(height, width)
    image_id = _count(image, "image_id")
    if image_id >= 2**31:
        raise DescriptionError(f"image_id {image_id} does not fit in 31 bits")
    transforms.check_photo(pair.jpeg, height=height, width=width)
    annotations = []
    for index, annotation in enumerate(_member(described, "annotations", list)):
        try:
            annotations.append(_annotation(annotation, height=height, width=width))
        except (DescriptionError, rle.RleError) as error:
            raise type(error)(f"annotation {index}: {error}") from error
    return records.Record(
        image_id=image_id,
        file_name=_member(image, "file_name", str),
        height=height,
        width=width,
        jpeg=pair.jpeg,
        annotations=tuple(annotations),
    )


def _annotation(described: Any, *, height: int, width: int) -> records.Annotation:
    segmentation = _member(described, "segmentation", dict)
    counts = _member(segmentation, "counts", str)
    size = _numbers(segmentation.get("size"), "segmentation.size", 2)
    if size != (height, width):
        raise DescriptionError(f"segmentation.size is {size} but the photo's is {(height, width)}")
    rle.parse_runs(counts, height=height, width=width)
    points = _member(described, "point_coords", list)
    if len(points) != 1:
        raise DescriptionError(f"point_coords holds {len(points)} points, not one")
    x, y = _numbers(points[0], "point_coords", 2)
    predicted_iou, stability_score = _numbers(
        [described.get("predicted_iou"), described.get("stability_score")], "predicted_iou, stability_score", 2
    )
    return records.Annotation(
        id=_count(described, "id"),
        counts=counts,
        area=_count(described, "area"),
        bbox=_box(described, "bbox", height=height, width=width),
        crop_box=_box(described, "crop_box", height=height, width=width),
        point=(x, y),
        predicted_iou=predicted_iou,
        stability_score=stability_score,
    )


def _member(described: Any, key: str, kind: type) -> Any:
    value = described.get(key) if isinstance(described, dict) else None
    if not isinstance(value, kind):
        raise DescriptionError(f"{key} is missing or not {kind.__name__}")
    return value


def _count(described: Any, key: str) -> int:
    value = _member(described, key, int)
    if isinstance(value, bool) or not 0 <= value < 2**63:
        raise DescriptionError(f"{key} is {value}, not a count")
    return value


def _numbers(value: Any, key: str, length: int) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else []
    if len(numbers) != length or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in numbers
    ):
        raise DescriptionError(f"{key} is not {length} numbers")
    return tuple(numbers)


def _box(described: Any, key: str, *, height: int, width: int) -> tuple[float, float, float, float]:
    """Return SA-1B's (x, y, width, height) in pixels as TFDS's (y_min, x_min, y_max, x_max), normalised."""
    x, y, box_width, box_height = _numbers(described.get(key), key, 4)
    box = (y / height, x / width, (y + box_height) / height, (x + box_width) / width)
    if not (0 <= box[0] <= box[2] <= 1 and 0 <= box[1] <= box[3] <= 1):
        raise DescriptionError(f"{key} {described[key]} is not inside the photo")
    return box


class Sa1b(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """SA-1B in the schema of TFDS's `segment_anything`; use `prepare`."""

    VERSION = tfds.core.Version("1.0.0")
    name = "sa1b"
    url_infos = None  # nothing is downloaded; TFDS would look for checksums through a package it does not install

    def __init__(self, *, tars: list[Path], split: str, **kwargs: Any):
        self.tars = tars
        self.split = split
        self.seen = 0
        self.strays = 0
        self.masks = 0
        self.drops: collections.Counter[str] = collections.Counter()
        self.examples: list[str] = []
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=records.features(),
            description="Photos and masks in the layout of the SA-1B release.",
            homepage="https://ai.meta.com/datasets/segment-anything-downloads",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # the tars are here already
        return {self.split: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        ids: set[int] = set()
        for tar in self.tars:
            for item in read_tar(tar):
                if isinstance(item, Stray):
                    self.strays += 1
                    log.info("%s: not a plain sa_<id>.jpg or .json, ignored.", item.where)
                    continue
                self.seen += 1
                try:
                    record = parse_pair(item) if isinstance(item, Pair) else item
                    if isinstance(record, records.Record) and record.image_id in ids:
                        where = f"{tar.name}: sa_{record.image_id}"
                        record = Drop(where=where, kind="duplicate", detail="image_id was seen before")
                except (DescriptionError, rle.RleError, transforms.PhotoError) as error:
                    record = Drop(where=item.where, kind=_KINDS[type(error)], detail=str(error))
                if isinstance(record, Drop):
                    self._drop(record)
                    continue
                ids.add(record.image_id)
                self.masks += len(record.annotations)
                yield record.image_id, records.to_example(record)
        self._check(total=self.seen)

    def _drop(self, drop: Drop) -> None:
        self.drops[drop.kind] += 1
        message = f"{drop.where}: {drop.detail}"
        if len(self.examples) < 20:
            self.examples.append(message)
        log.warning("%s. Record dropped (%d of %d so far).", message, self.drops.total(), self.seen)
        self._check(total=sys.maxsize)

    def _check(self, *, total: int) -> None:
        if too_many(bad=self.drops.total(), seen=self.seen, total=total):
            raise UserError(
                f"{self.drops.total():,} of {self.seen:,} records cannot be used, more than {TOLERATED:.0%}; the last "
                f"dropped: {self.examples[-1]}; correct or remove the tars and prepare again"
            )
        if self.seen == self.drops.total() and total == self.seen:
            raise UserError(f"{', '.join(str(tar) for tar in self.tars[:3])} hold no usable photo")


def prepare(source: str, out: str | Path, *, split: str = "train") -> PrepareReport:
    """Write the tars of `source` as ArrayRecord to the folder `out`, whole or not at all.

    Args:
      source: a folder with *.tar in it, a glob, or one tar, in the SA-1B layout.
      out: the folder to make; it holds dataset_info.json at the end, and prepare_report.json.
      split: the name of the one split written.

    Raises:
      UserError: no tars, a damaged tar, `out` is there already, or more than 1% of the records cannot be used.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already: give a new folder to write to, or remove it")
    tars = find_tars(source)
    tfds.disable_progress_bar()
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.parent / f".{out.name}.incomplete-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        builder = Sa1b(tars=tars, split=split, data_dir=work, file_format="array_record")
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS speaks of downloads and of the temporary folder
            builder.download_and_prepare(
                download_dir=work / "downloads",
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
        report = PrepareReport(
            tars=len(tars),
            records=builder.seen - builder.drops.total(),
            masks=builder.masks,
            dropped=builder.drops.total(),
            reasons=dict(builder.drops),
            examples=tuple(builder.examples),
            ignored_members=builder.strays,
        )
        made = Path(builder.data_dir)
        (made / "prepare_report.json").write_text(json.dumps(dataclasses.asdict(report), indent=1) + "\n")
        try:
            made.rename(out)
        except OSError as error:
            raise UserError(f"{out} was made by someone else meanwhile ({error}): use that, or give another") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return report


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to read and where to write."""

    source: str
    """A folder with *.tar in it, a quoted glob, or one tar, in the SA-1B layout."""
    out: Path
    """The folder to make."""
    split: str = "train"
    """Name of the split."""


def main() -> None:
    """Prepare from the command line and print the report."""
    arguments = tyro.cli(Arguments, description=__doc__)
    try:
        report = prepare(arguments.source, arguments.out, split=arguments.split)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(json.dumps(dataclasses.asdict(report), indent=1))


if __name__ == "__main__":
    main()
