"""Photos of SA-1B's size, 1500 pixels the shortest side and 100 masks each, made from smaller ones."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samjax.data.masks import rle
from samjax.data.masks.packing import resize_mask
from samjax.data.records import masks as records

SHORTEST, MASKS = 1500, 100


def pairs(tars: list[Path]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the JPEG and the description of every photo in the tars."""
    for tar in tars:
        with tarfile.open(tar) as archive:
            contents = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            for name, file in contents.items():
                photo = contents.get(name.removesuffix(".json") + ".jpg")
                if name.endswith(".json") and file is not None and photo is not None:
                    yield photo.read(), json.loads(file.read())


def split(masks: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Return `count` masks: the largest is cut in two across its longer side until there are enough."""
    masks = sorted(masks, key=np.count_nonzero)
    while len(masks) < count:
        whole = masks.pop()
        rows, columns = np.nonzero(whole)
        axis = int(np.ptp(columns) > np.ptp(rows))
        middle = int(np.median(columns if axis else rows)) + 1
        first, second = whole.copy(), whole.copy()
        first[(slice(None),) * axis + (slice(middle, None),)] = False
        second[(slice(None),) * axis + (slice(None, middle),)] = False
        masks = sorted([*masks, first, second], key=np.count_nonzero)
    return masks[-count:]


def enlarged(jpeg: bytes, described: dict[str, Any], *, identifier: int) -> records.Record:
    """Return a photo of SA-1B's size with its masks."""
    with Image.open(io.BytesIO(jpeg)) as small:
        scale = SHORTEST / min(small.size)
        width, height = (round(side * scale) for side in small.size)
        file = io.BytesIO()
        small.convert("RGB").resize((width, height), Image.Resampling.BICUBIC).save(file, format="JPEG", quality=90)
    masks = []
    for one in described["annotations"]:
        rows, columns = one["segmentation"]["size"]
        masks.append(rle.decode(one["segmentation"]["counts"], height=rows, width=columns))
    # Split first and enlarge then: quicker, and the same.
    masks = [resize_mask(mask, size=(height, width)) for mask in split(masks, MASKS)]
    return records.Record(
        image_id=identifier,
        file_name=f"sa_{identifier}.jpg",
        height=height,
        width=width,
        jpeg=file.getvalue(),
        annotations=tuple(
            records.Annotation(
                id=index,
                counts=rle.encode(mask)["counts"],
                area=int(np.count_nonzero(mask)),
                bbox=(0.0, 0.0, 1.0, 1.0),
                crop_box=(0.0, 0.0, 1.0, 1.0),
                point=(0.0, 0.0),
                predicted_iou=1.0,
                stability_score=1.0,
            )
            for index, mask in enumerate(masks)
        ),
    )


def photos(tars: list[Path], count: int) -> list[records.Record]:
    """Return `count` photos of SA-1B's size, from those with enough mask to be split."""
    found: list[records.Record] = []
    for jpeg, described in pairs(tars):
        if len(found) == count:
            break
        if len(described["annotations"]) >= 3 and sum(one["area"] for one in described["annotations"]) > 10_000:
            found.append(enlarged(jpeg, described, identifier=len(found)))
    return found


def write_tar(photos: list[records.Record], path: Path) -> Path:
    """Write the photos in SA-1B's layout."""
    with tarfile.open(path, "w") as archive:
        for photo in photos:
            size = {"width": photo.width, "height": photo.height}
            described = {
                "image": {"image_id": photo.image_id, "file_name": photo.file_name, **size},
                "annotations": [
                    {
                        "id": one.id,
                        "segmentation": {"size": [photo.height, photo.width], "counts": one.counts},
                        "bbox": [0.0, 0.0, 1.0, 1.0],
                        "area": one.area,
                        "predicted_iou": one.predicted_iou,
                        "stability_score": one.stability_score,
                        "crop_box": [0.0, 0.0, float(photo.width), float(photo.height)],
                        "point_coords": [list(one.point)],
                    }
                    for one in photo.annotations
                ],
            }
            stem = photo.file_name.removesuffix(".jpg")
            for name, content in ((f"{stem}.jpg", photo.jpeg), (f"{stem}.json", json.dumps(described).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path
