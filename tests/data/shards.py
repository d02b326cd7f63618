"""Small records and the tars that hold them."""

import io
import json
import tarfile

import numpy as np
from PIL import Image

from samjax.data.masks import rle
from samjax.data.records import masks as records


def jpeg(height, width, *, mode="RGB", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, len(mode)), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(), mode if mode != "L" else None).save(file, format="JPEG", quality=90)
    return file.getvalue()


def annotation(mask, *, identifier=1):
    return records.Annotation(
        id=identifier,
        counts=rle.encode(mask)["counts"],
        area=int(mask.sum()),
        bbox=(0.0, 0.0, 0.5, 0.5),
        crop_box=(0.0, 0.0, 1.0, 1.0),
        point=(1.0, 2.0),
        predicted_iou=0.5,
        stability_score=0.75,
    )


def record(image_id, masks=None, *, height=24, width=32):
    """A small record; by default two masks, a corner that depends on the id and a column."""
    if masks is None:
        masks = np.zeros((2, height, width), bool)
        masks[0, : 4 + image_id % 9, :7] = True
        masks[1, :, 20] = True
    return records.Record(
        image_id=image_id,
        file_name=f"sa_{image_id}.jpg",
        height=height,
        width=width,
        jpeg=jpeg(height, width, seed=image_id),
        annotations=tuple(annotation(mask, identifier=index) for index, mask in enumerate(masks)),
    )


def description(item):
    """A record as SA-1B's JSON."""
    height, width = item.height, item.width
    return {
        "image": {"image_id": item.image_id, "width": width, "height": height, "file_name": item.file_name},
        "annotations": [
            {
                "id": mask.id,
                "segmentation": {"size": [height, width], "counts": mask.counts},
                "bbox": [1.0, 2.0, 3.0, 4.0],
                "area": mask.area,
                "predicted_iou": mask.predicted_iou,
                "stability_score": mask.stability_score,
                "crop_box": [0.0, 0.0, width, height],
                "point_coords": [list(mask.point)],
            }
            for mask in item.annotations
        ],
    }


def members(item, described=None):
    """The two files of a record, by name."""
    text = json.dumps(description(item) if described is None else described).encode()
    return {f"sa_{item.image_id}.jpg": item.jpeg, f"sa_{item.image_id}.json": text}


def write_tar(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def good(count, first=1):
    """The files of `count` small records, by name."""
    return {
        name: content for number in range(first, first + count) for name, content in members(record(number)).items()
    }
