"""A small folder as BSDS500 comes, of made photos whose boundaries are known."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.io import savemat

from samjax.eval.protocols.edges.thinning import thin


def write_truth(path: Path, boundaries: list[np.ndarray]) -> None:
    """Write annotators' boundaries in BSDS500's structure: a 1 x n cell of 1 x 1 structs."""
    cells = np.empty((1, len(boundaries)), object)
    for person, drawn in enumerate(boundaries):
        regions = np.asarray(ndimage.label(~drawn)[0], np.uint16)
        cells[0, person] = {"Segmentation": regions, "Boundaries": drawn}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"groundTruth": cells}, do_compression=True)


def boundaries_of(labels: np.ndarray) -> np.ndarray:
    """Return thin lines where labels change."""
    changes = np.zeros(labels.shape, bool)
    changes[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    changes[:-1] |= labels[:-1] != labels[1:]
    return thin(changes)


def made_photo(seed: int, *, height: int, width: int, people: int = 3) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a photo of smooth regions in their own colours with some noise, and what each annotator drew of it.

    Each annotator leaves out one region more than the one before, and is a pixel or so off.
    """
    rng = np.random.default_rng(seed)
    regions = np.stack([ndimage.gaussian_filter(rng.normal(size=(height, width)), height / 10) for _ in range(8)])
    labels = regions.argmax(axis=0)
    colours = rng.integers(0, 256, (8, 3))
    noise = rng.normal(scale=8, size=(height, width, 3))
    photo = np.clip(colours[labels] + noise, 0, 255).astype(np.uint8)
    drawn = []
    for person in range(people):
        shift = [ndimage.gaussian_filter(rng.normal(size=(height, width)), 6) * 12 for _ in range(2)]
        places = np.mgrid[:height, :width] + np.stack(shift)
        moved = ndimage.map_coordinates(labels, places, order=0, mode="nearest")
        drawn.append(boundaries_of(np.where(moved < 8 - person, moved, 0)))
    return photo, drawn


def write_bsds(root: Path, *, photos: int, height: int, width: int, split: str = "test") -> Path:
    """Write the folder, and return it."""
    images, truths = (root / "BSDS500" / "data" / kind / split for kind in ("images", "groundTruth"))
    images.mkdir(parents=True)
    for seed in range(photos):
        photo, drawn = made_photo(seed, height=height, width=width)
        Image.fromarray(photo).save(images / f"{1000 + seed}.jpg", quality=95)
        write_truth(truths / f"{1000 + seed}.mat", drawn)
    return root
