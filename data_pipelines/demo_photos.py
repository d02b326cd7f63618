"""Make the small photo set shipped in `experiments/sam/photos` from Creative-Commons photos in the SA-1B layout.

    python -m data_pipelines.demo_photos --source TARS --out experiments/sam/photos

TARS holds `sa_<number>.tar` shards and `attribution.json`, a list of rows `{shard, split, file_name, license,
flickr_url, ...}`. Only photos whose licence is exactly CC BY 2.0 are taken. Photos are scaled down, their masks with
them; the tars carry no times or owners, so the same source gives the same bytes.
"""

import dataclasses
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Bool
from PIL import Image

from samjax.core.errors import MachineError, UserError
from samjax.data.masks import rle
from samjax.data.masks.packing import fitted_size, resize_mask
from samjax.data.photo import open_photo

LICENSE = "CC BY 2.0"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Where the photos are, where the small ones go, and how small they are."""

    source: Path
    """Folder of SA-1B style tars with attribution.json."""
    out: Path
    """Folder to write train/, val/ and attribution.json to."""
    longest_side: int = 384
    """Longest side of a photo, pixels."""
    quality: int = 88
    """JPEG quality, 1 to 95."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmallRecord:
    """One photo of the small set; `lost_masks` had no pixel left."""

    jpeg: bytes
    text: str
    masks: int
    lost_masks: int


def inclusive_box(mask: Bool[np.ndarray, "h w"]) -> list[float]:
    """Return SA-1B's `[x0, y0, xmax - xmin, ymax - ymin]` of a mask that is not empty: one less than COCO's sides."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] - columns[0]), float(rows[-1] - rows[0])]


def shrink(jpeg: bytes, described: dict[str, Any], arguments: Arguments) -> SmallRecord:
    """Return the photo and its masks, scaled so that the longest side is `arguments.longest_side`."""
    image = described["image"]
    height, width = image["height"], image["width"]
    side = min(arguments.longest_side, max(height, width))  # never enlarged
    size = fitted_size(height=height, width=width, frame=(side, side))
    photo = open_photo(jpeg, height=height, width=width).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    photo.save(encoded, format="JPEG", quality=arguments.quality, optimize=True)

    annotations = []
    for annotation in described["annotations"]:
        counts = annotation["segmentation"]["counts"]
        mask = resize_mask(rle.decode(counts, height=height, width=width), size=size)
        if not mask.any():
            continue
        points = [[x * size[1] / width, y * size[0] / height] for x, y in annotation["point_coords"]]
        annotations.append(
            {
                **annotation,
                "segmentation": rle.encode(mask),
                "bbox": inclusive_box(mask),
                "area": int(mask.sum()),
                "crop_box": [0.0, 0.0, float(size[1]), float(size[0])],
                "point_coords": points,
            }
        )
    text = json.dumps(
        {"image": {**image, "height": size[0], "width": size[1]}, "annotations": annotations}, separators=(",", ":")
    )
    return SmallRecord(
        jpeg=encoded.getvalue(),
        text=text,
        masks=len(annotations),
        lost_masks=len(described["annotations"]) - len(annotations),
    )


def read_pairs(folder: Path, rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bytes, dict[str, Any]]]:
    """Yield (attribution row, JPEG, description) of every row, in the rows' order."""
    for row in rows:
        with tarfile.open(folder / row["shard"]) as shard:
            jpeg = shard.extractfile(row["file_name"])
            text = shard.extractfile(Path(row["file_name"]).with_suffix(".json").name)
            assert jpeg is not None
            assert text is not None
            yield row, jpeg.read(), json.load(text)


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file without time or owner, so that equal content gives an equal archive."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def main(arguments: Arguments) -> None:
    """Write the small set and print what it holds."""
    listing = arguments.source / "attribution.json"
    if not listing.is_file():
        raise UserError(f"{listing} is missing: --source needs SA-1B style tars with their attribution.json")
    rows = [row for row in json.loads(listing.read_text()) if row["license"] == LICENSE]
    attribution = []
    for split in ("train", "val"):
        shard = arguments.out / split / "sa_000000.tar"
        shard.parent.mkdir(parents=True, exist_ok=True)
        photos, masks, vanished = 0, 0, 0
        with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as archive:
            for row, jpeg, described in read_pairs(arguments.source, [row for row in rows if row["split"] == split]):
                small = shrink(jpeg, described, arguments)
                add(archive, row["file_name"], small.jpeg)
                add(archive, Path(row["file_name"]).with_suffix(".json").name, small.text.encode())
                attribution.append(
                    {
                        "file": f"{split}/{shard.name}:{row['file_name']}",
                        "license": row["license"],
                        "license_url": "https://creativecommons.org/licenses/by/2.0/",
                        "source_url": row["flickr_url"],
                        "coco_id": row["coco_id"],
                        "changes": f"resized to a longest side of {arguments.longest_side} pixels, re-encoded as JPEG",
                        "masks": small.masks,
                    }
                )
                photos, masks, vanished = photos + 1, masks + small.masks, vanished + small.lost_masks
        print(f"{shard}: {photos} photos, {masks} masks, {vanished} masks vanished, {shard.stat().st_size:,} bytes")
    (arguments.out / "attribution.json").write_text(json.dumps(attribution, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main(tyro.cli(Arguments, description=__doc__))
    except (UserError, MachineError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
