"""Small data sets on disk, made of known masks."""

import json

import numpy as np
from PIL import Image

from samjax.data.masks import rle

SIZE = (24, 32)


def write_photo(path, *, size=SIZE, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def write_png(path, values, *, mode=None):
    """Grey of 8 or 16 bits by dtype, RGB by shape, or with a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    picture.save(path)


def label_map(values, *, size=SIZE, dtype=np.uint8, seed=0):
    """A map in which each of `values` has pixels here and there, and the rest is 0."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros(size, dtype)
    for value in values:
        top, left = rng.integers(0, size[0] - 5), rng.integers(0, size[1] - 5)
        drawn[top : top + 5, left : left + 5] = value
    for place, value in enumerate(values):  # none is covered, and the last pixel of all is one's
        drawn[-1, -1 - place] = value
    return drawn


def random_masks(count, *, size=SIZE, seed=0):
    return np.random.default_rng(seed).random((count, *size)) < 0.4


def coco_content(masks, *, size=SIZE):
    """COCO's JSON of `masks`, a list of masks by file name; ids of photos and annotations count from 1."""
    images = [
        {"id": number, "file_name": name, "height": size[0], "width": size[1]}
        for number, name in enumerate(masks, start=1)
    ]
    annotations = [
        {"image_id": image["id"], "category_id": 3, "segmentation": rle.encode(mask)}
        for image, those in zip(images, masks.values(), strict=True)
        for mask in those
    ]
    annotations = [{"id": number, **annotation} for number, annotation in enumerate(annotations, start=1)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "leaf"}]}


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def panoptic_rgb(values):
    return np.stack([values % 256, values // 256 % 256, values // 65536], axis=-1).astype(np.uint8)


def read_every_photo(dataset):
    """What is kept can be read: a photo of another size than its masks is refused then."""
    for photo in dataset.photos:
        assert photo.read().shape == (photo.height, photo.width, 3)
        assert all(mask.shape == (photo.height, photo.width) for mask in masks_of(photo))


def masks_of(photo):
    return [instance.mask() for instance in photo.instances]
