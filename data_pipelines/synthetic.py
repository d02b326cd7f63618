"""Synthetic photos as tars in SA-1B's layout, to try preparation and storage at any size without SA-1B.

python -m data_pipelines.synthetic --out FOLDER --source synthetic:photos=1000,seed=0 --photos-per-tar 200
"""

import dataclasses
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import tyro

from samjax.core.errors import MachineError, UserError
from samjax.data.records import masks as records
from samjax.data.synthetic.source import PREFIX, SyntheticSource, is_synthetic, parse_synthetic


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to draw and where to write it."""

    out: Path
    """The folder to make: sa_000000.tar, sa_000001.tar, ..."""
    source: str = PREFIX
    """`synthetic:` and its parameters, as for --data.source."""
    split: str = "train"
    """`train` or `val`."""
    photos_per_tar: int = 1_000


def describe(record: records.Record) -> dict[str, Any]:
    """Return what SA-1B's JSON says of `record`: boxes in pixels, (x, y, width, height)."""
    height, width = record.height, record.width

    def in_pixels(box: tuple[float, float, float, float]) -> list[float]:
        y_min, x_min, y_max, x_max = box[0] * height, box[1] * width, box[2] * height, box[3] * width
        return [round(side, 3) for side in (x_min, y_min, x_max - x_min, y_max - y_min)]

    return {
        "image": {"image_id": record.image_id, "width": width, "height": height, "file_name": record.file_name},
        "annotations": [
            {
                "id": annotation.id,
                "segmentation": {"size": [height, width], "counts": annotation.counts},
                "bbox": in_pixels(annotation.bbox),
                "area": annotation.area,
                "predicted_iou": annotation.predicted_iou,
                "stability_score": annotation.stability_score,
                "crop_box": in_pixels(annotation.crop_box),
                "point_coords": [list(annotation.point)],
            }
            for annotation in record.annotations
        ],
    }


def write_tars(source: SyntheticSource, out: Path, *, photos_per_tar: int) -> list[Path]:
    """Write every photo of `source` and return the tars; without times or owners, so the same source, the same bytes.

    Raises:
      UserError: `out` exists and is not an empty folder, or `photos_per_tar` is below 1.
    """
    if photos_per_tar < 1:
        raise UserError(f"photos_per_tar is {photos_per_tar}: give at least 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already: give a new folder to write to, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    tars = []
    for first in range(0, len(source), photos_per_tar):
        tars.append(out / f"sa_{len(tars):06d}.tar")
        with tarfile.open(tars[-1], "w", format=tarfile.USTAR_FORMAT) as archive:
            for index in range(first, min(first + photos_per_tar, len(source))):
                record = records.decode_record(source[index])
                text = json.dumps(describe(record), separators=(",", ":")).encode()
                for name, content in ((f"sa_{record.image_id}.jpg", record.jpeg), (f"sa_{record.image_id}.json", text)):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return tars


def main() -> None:
    """Write tars from the command line."""
    arguments = tyro.cli(Arguments, description=__doc__)
    try:
        if not is_synthetic(arguments.source):
            raise UserError(f"{arguments.source} does not begin with {PREFIX}: give {PREFIX}photos=1000,seed=0")
        config = dataclasses.replace(parse_synthetic(arguments.source), keep=0)
        source = SyntheticSource(config, split=arguments.split)
        tars = write_tars(source, arguments.out, photos_per_tar=arguments.photos_per_tar)
    except (UserError, MachineError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"{len(source):,} photos in {len(tars)} tars in {arguments.out}")


if __name__ == "__main__":
    main()
