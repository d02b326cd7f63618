"""The baseline: a straightforward PyTorch `Dataset` of SA-1B's files."""

import io
import warnings
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco

from samjax.data.masks.packing import fitted_size, resize_mask
from samjax.data.records.masks import Record

warnings.filterwarnings("ignore", category=DeprecationWarning, module="pycocotools")  # NumPy 2's copy argument


class SegmentAnything(torch.utils.data.Dataset):
    """Photos at the model's resolution, each with 64 of its masks drawn at random.

    PIL decodes and scales the photo; pycocotools decodes each mask, of which the pixels under the model's centres
    are taken. Parsing the JSON is not counted.
    """

    def __init__(self, photos: list[Record], *, frame: int, masks: int, seed: int):
        self.photos = photos
        self.frame, self.masks, self.seed = frame, masks, seed

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        photo = self.photos[index]
        height, width = fitted_size(height=photo.height, width=photo.width, frame=(self.frame, self.frame))
        image = np.zeros((self.frame, self.frame, 3), np.uint8)
        decoded = Image.open(io.BytesIO(photo.jpeg)).convert("RGB")
        image[:height, :width] = np.asarray(decoded.resize((width, height), Image.Resampling.BILINEAR))
        order = np.random.default_rng(self.seed).permutation(len(photo.annotations))[: self.masks]
        masks = np.zeros((len(order), self.frame, self.frame), np.uint8)
        for slot, chosen in enumerate(order):
            counts = photo.annotations[chosen].counts
            masks[slot, :height, :width] = decode_and_resize(photo, counts, size=(height, width))
        return {"image": torch.from_numpy(image), "masks": torch.from_numpy(masks)}


def decode_and_resize(photo: Record, counts: str, *, size: tuple[int, int]) -> np.ndarray:
    """Return a mask at `size`, by way of the whole bitmap. PIL's own nearest rounds some borders the other way."""
    coded: Any = {"size": [photo.height, photo.width], "counts": counts.encode()}
    return resize_mask(coco.decode(coded).view(bool), size=size).view(np.uint8)
