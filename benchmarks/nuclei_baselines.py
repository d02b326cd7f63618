"""Classical segmentation of nuclei, scored as automatic masks are: what a model must beat.

    python benchmarks/nuclei_baselines.py --annotations val.json --images val --out baselines
    python benchmarks/nuclei_baselines.py ... --masks mine=masks --masks other=results.json

It needs scikit-image, which samjax does not install: `pip install scikit-image`. Two methods, on the photo's luminance
after a Gaussian of 1 pixel:

- components: the connected components of the pixels on the nuclei's side of Otsu's threshold;
- watershed: the same pixels, split by a watershed of their distance transform, with a marker at each of its maxima.

Nuclei may be darker or brighter than their surroundings: the side of the threshold that holds most pixels of the
photo's border is background. Holes are filled, and components under 20 pixels dropped. Average precision needs
confidences, and these methods have none: every mask has the score 1.

A photo is called stained if the median luminance at its border is above 0.25, as on bright slides, else fluorescence.
The table has AP and AP50 with any number of masks per photo, AP50 of the best 100 as COCO counts them, and F1 at an IoU
of 0.5; see `samjax evaluate masks`. DIR/components.json and DIR/watershed.json are COCO results, for that command too.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from samjax.data.annotations.dataset import Photo
from samjax.data.annotations.images import ImageFolder
from samjax.data.masks import rle
from samjax.eval.ground_truth import AnnotatedPhotos, read_annotated_photos
from samjax.eval.protocols.masks.predictions import read_predictions
from samjax.eval.protocols.masks.protocol import match_masks_of
from samjax.eval.protocols.masks.report import ALL, BEST, mask_results
from samjax.eval.results import align_columns

LEAST_AREA = 20
BRIGHT = 0.25
NEAREST = 5
"""Pixels between two maxima of the distance transform, at least."""


def luminance(pixels: np.ndarray) -> np.ndarray:
    from skimage.color import rgb2gray  # pyright: ignore[reportMissingImports]

    return rgb2gray(pixels)


def border(grey: np.ndarray) -> np.ndarray:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def is_stained(photo: Photo) -> bool:
    return bool(np.median(border(luminance(photo.read()))) > BRIGHT)


def foreground(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels on the nuclei's side of Otsu's threshold, holes filled."""
    from skimage.filters import gaussian, threshold_otsu  # pyright: ignore[reportMissingImports]

    grey = gaussian(luminance(pixels), sigma=1)
    above = grey > threshold_otsu(grey)
    inside = ~above if border(above).mean() > 0.5 else above
    return ndimage.binary_fill_holes(inside)  # type: ignore[return-value]


def components(pixels: np.ndarray) -> np.ndarray:
    """Return a label map."""
    from skimage.measure import label  # pyright: ignore[reportMissingImports]

    return label(foreground(pixels))


def watershed(pixels: np.ndarray) -> np.ndarray:
    """Return a label map."""
    from skimage import segmentation  # pyright: ignore[reportMissingImports]
    from skimage.feature import peak_local_max  # pyright: ignore[reportMissingImports]
    from skimage.measure import label  # pyright: ignore[reportMissingImports]

    inside = foreground(pixels)
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 1)  # type: ignore[arg-type]
    peaks = peak_local_max(distance, min_distance=NEAREST, labels=label(inside), exclude_border=False)
    markers = np.zeros(inside.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return segmentation.watershed(-distance, markers, mask=inside)


METHODS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"components": components, "watershed": watershed}


def masks_of(labels: np.ndarray) -> list[dict]:
    """Return the run lengths of each label of at least `LEAST_AREA` pixels."""
    areas = np.bincount(labels.ravel())
    return [rle.encode(labels == value) for value in np.flatnonzero(areas >= LEAST_AREA) if value]


def segment(photos: Sequence[Photo], out: Path) -> dict[str, Path]:
    """Write each method's masks as COCO results, and return the files."""
    files = {}
    for name, method in METHODS.items():
        results = [
            {"image_id": photo.id, "category_id": 1, "segmentation": mask, "score": 1.0}
            for photo in photos
            for mask in masks_of(method(photo.read()))
        ]
        files[name] = out / f"{name}.json"
        files[name].write_text(json.dumps(results))
    return files


def line(name: str, group: str, file: Path, data: AnnotatedPhotos, photos: Sequence[Photo]) -> list[str]:
    """Return a line of the table: the masks in `file` of some photos."""
    predictions = read_predictions(file, photos, among=data.photos, allow_missing=False)
    truth = data.truth.of_photos([photo.id for photo in photos]).class_agnostic()
    found = [match_masks_of(photo, predictions.masks[photo.id], truth) for photo in photos]
    results = mask_results(truth, found, source=str(file), settings={}, left_out={}, notes=())
    metrics = {row.name: row.metrics for row in results.rows}
    values = [metrics[ALL]["AP"], metrics[ALL]["AP50"], metrics[BEST]["AP50"], metrics[ALL]["F1@50"]]
    figures = ["-" if value is None else f"{value:.1f}" for value in values]
    return [name, group, f"{len(photos):,}", f"{sum(one.objects for one in found):,}", *figures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", required=True, help="COCO's JSON of the photos")
    parser.add_argument("--images", required=True, help="their folder")
    parser.add_argument("--out", required=True, type=Path, help="folder to write the masks to")
    parser.add_argument("--masks", action="append", default=[], help="NAME=PATH: other masks to score beside them")
    known = parser.parse_args()
    known.out.mkdir(parents=True, exist_ok=True)
    data = read_annotated_photos(known.annotations, images=ImageFolder(known.images), allow_missing=False)
    files = {
        **segment(data.photos, known.out),
        **{name: Path(path) for name, path in (m.split("=", 1) for m in known.masks)},
    }
    stained = {photo.id for photo in data.photos if is_stained(photo)}
    groups = {
        "all": list(data.photos),
        "fluorescence": [photo for photo in data.photos if photo.id not in stained],
        "stained": [photo for photo in data.photos if photo.id in stained],
    }
    lines = [["masks", "photos", "count", "objects", "AP", "AP50", "AP50, best 100", "F1@50"]]
    lines += [
        line(name, group, file, data, photos)
        for name, file in files.items()
        for group, photos in groups.items()
        if photos
    ]
    print("\n".join(align_columns(lines)))


if __name__ == "__main__":
    main()
