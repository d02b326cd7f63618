"""The same photos and objects on disk in every format of annotations."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from samjax.data.annotations.formats import Format
from samjax.data.masks import rle

ANNOTATIONS = {
    Format.COCO: "coco.json",
    Format.LABEL_MAPS: "maps",
    Format.PANOPTIC: "panoptic.json",
    Format.INSTANCE_PNGS: "instances",
}
"""Where `write_formats` puts each; photos are in `images`."""
CATEGORY = 3


def rectangles(*corners: tuple[int, int, int, int], size: tuple[int, int] = (24, 32)) -> list[Bool[np.ndarray, "h w"]]:
    """Return a mask for each (top, left, bottom, right), the last two excluded."""
    masks = []
    for top, left, bottom, right in corners:
        mask = np.zeros(size, bool)
        mask[top:bottom, left:right] = True
        masks.append(mask)
    return masks


def write_formats(folder: Path, photos: dict[str, list[Bool[np.ndarray, "h w"]]], *, size: tuple[int, int] = (24, 32)):
    """Write PNG photos of noise, called by the keys, and their rectangles, which touch no other, in each format."""
    images, coco, panoptic = [], [], []
    for number, (name, masks) in enumerate(sorted(photos.items()), 1):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        save(folder / "images" / name, pixels)
        images.append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
        values = np.zeros(size, np.uint8)
        for place, mask in enumerate(masks, 1):
            values[mask] = place
            shape = segmentation(mask, kind=place % 3)
            coco.append({"id": len(coco) + 1, "image_id": number, "category_id": CATEGORY, "segmentation": shape})
            save(folder / f"instances/{Path(name).with_suffix('')}/{place}.png", 255 * mask.astype(np.uint8))
        save(folder / "maps" / name, values)
        png = name.replace("/", "_")
        save(folder / "panoptic" / png, np.stack([values, 0 * values, 0 * values], axis=-1))
        segments = [{"id": place, "category_id": CATEGORY} for place in range(1, len(masks) + 1)]
        panoptic.append({"image_id": number, "file_name": png, "segments_info": segments})
    for name, annotations in (("coco.json", coco), ("panoptic.json", panoptic)):
        categories = [{"id": CATEGORY, "name": "leaf", "isthing": 1}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / name).write_text(json.dumps(content))


def segmentation(mask: Bool[np.ndarray, "h w"], *, kind: int):
    """Return a rectangle as COCO writes it: a polygon, run lengths as numbers, or as text."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left, bottom, right = (int(side) for side in (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    code = rle.encode(mask)
    runs = rle.parse_runs(code["counts"], height=mask.shape[0], width=mask.shape[1])
    return ([[left, top, right, top, right, bottom, left, bottom]], {**code, "counts": runs.tolist()}, code)[kind]


def save(path: Path, pixels: np.ndarray):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
