"""The boundary benchmark of BSDS500: seconds a photo, and the matcher beside scipy's exact assignments.

    python benchmarks/edges.py                      # prints the table of docs/benchmarks.md
    python benchmarks/edges.py --photos 8 --threads 2

Photos are made, of BSDS500's size: regions whose borders five annotators draw a pixel or two apart, each leaving more
of them out, 4,000 to 6,000 pixels a person; and an edge map of these borders and of texture, thinned along its ridges
and of 23,000 pixels at the lowest threshold: more of both than most photos of the data set have. All are counted at the
benchmark's 99 thresholds, on threads.

Whole photos are more than scipy's dense assignment can hold, so that both sides match the same windows of 160 x 160
pixels of them, at one threshold: as many pairs, at the same cost.
"""

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from samjax.eval.protocols.edges.levels import THRESHOLDS, as_levels, level_of
from samjax.eval.protocols.edges.matching import RADIUS, count, match
from samjax.eval.protocols.edges.suppression import ridges
from samjax.eval.protocols.edges.thinning import thin

HEIGHT, WIDTH, PEOPLE, TEST_PHOTOS = 321, 481, 5, 200
WINDOW, TURNS = 160, 5


class Made(NamedTuple):
    edges: np.ndarray
    boundaries: list[np.ndarray]


def smooth(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Return smooth noise of variance 1."""
    noise = ndimage.gaussian_filter(rng.normal(size=(HEIGHT, WIDTH)), sigma)
    return noise / noise.std()


def drawn(rng: np.random.Generator, labels: np.ndarray, *, off: float) -> np.ndarray:
    """Return the borders of regions, moved by `off` pixels or so."""
    places = np.mgrid[:HEIGHT, :WIDTH] + off * np.stack([smooth(rng, 12), smooth(rng, 12)])
    moved = ndimage.map_coordinates(labels, places, order=0, mode="nearest")
    borders = np.zeros(labels.shape, bool)
    borders[:, :-1] |= moved[:, :-1] != moved[:, 1:]
    borders[:-1] |= moved[:-1] != moved[1:]
    return thin(borders)


def made(seed: int, *, regions: int = 10) -> Made:
    rng = np.random.default_rng(seed)
    labels = np.stack([smooth(rng, 26) for _ in range(regions)]).argmax(axis=0)
    boundaries = [drawn(rng, np.where(labels < regions - person, labels, 0), off=1.5) for person in range(PEOPLE)]
    strength = np.clip(0.5 + 0.25 * smooth(rng, 10), 0.05, 1)
    border = ndimage.gaussian_filter(drawn(rng, labels, off=1.0).astype(float), 1.2)
    grain = smooth(rng, 2.5)
    texture = np.hypot(ndimage.sobel(grain, 0), ndimage.sobel(grain, 1))
    edges = np.maximum(border / border.max() * strength, 0.5 * texture / texture.max() * strength)
    edges = ridges(edges.astype(np.float32))
    return Made(edges=as_levels(edges / edges.max()), boundaries=boundaries)


def assigned(detected: np.ndarray, truth: np.ndarray, *, radius: float) -> tuple[int, int]:
    """Return pairs and cost by scipy."""
    one, other = np.argwhere(detected), np.argwhere(truth)
    squares = ((one[:, None] - other[None]) ** 2).sum(axis=-1)
    costs = np.where(squares <= radius**2, np.rint(100 * np.sqrt(squares)), 1e8)
    rows, columns = linear_sum_assignment(costs)
    near = costs[rows, columns] < 1e8
    return int(near.sum()), int(costs[rows, columns][near].sum())


def seconds(function, *arguments, **keywords) -> tuple[float, object]:
    started = time.perf_counter()
    answer = function(*arguments, **keywords)
    return time.perf_counter() - started, answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    known = parser.parse_args()
    photos = [made(seed) for seed in range(known.photos)]
    count(photos[0].edges, photos[0].boundaries, thresholds=(0.5,))  # compiled, or read from its cache

    def one(photo: Made):
        return seconds(count, photo.edges, photo.boundaries, thresholds=THRESHOLDS)

    with ThreadPoolExecutor(known.threads) as pool:
        whole, each = seconds(lambda: list(pool.map(one, photos)))
    counts = [found for _, found in each]  # type: ignore[attr-defined]
    people = [int(drawn.sum()) for photo in photos for drawn in photo.boundaries]
    detected = [int(found.detected[0]) for found in counts]
    print(f"{len(photos)} photos of {HEIGHT} x {WIDTH}, {PEOPLE} annotators, {len(THRESHOLDS)} thresholds")
    print(f"boundary pixels a person   {min(people):,} to {max(people):,}, median {statistics.median(people):,.0f}")
    print(f"detected at {THRESHOLDS[0]}           {min(detected):,} to {max(detected):,}")
    print(f"seconds a photo            {whole / len(photos):.2f} on {known.threads} threads")
    print(f"{TEST_PHOTOS} photos of the test split {TEST_PHOTOS * whole / len(photos) / 60:.1f} minutes")

    radius = RADIUS * float(np.hypot(HEIGHT, WIDTH))
    ours, theirs = [], []
    for turn in range(TURNS):
        photo = photos[turn % len(photos)]
        window = np.s_[100 : 100 + WINDOW, 60 * turn : 60 * turn + WINDOW]
        lines, truth = thin(photo.edges >= level_of(0.1))[window], photo.boundaries[0][window]
        took, found = seconds(match, lines, truth, radius=radius)
        ours.append(took)
        took, expected = seconds(assigned, lines, truth, radius=radius)
        theirs.append(took)
        assert (found.pairs, found.cost) == expected, (found.pairs, found.cost, expected)  # type: ignore[attr-defined]
    print(f"\nwindows of {WINDOW} x {WINDOW}, one matching: samjax {1e3 * statistics.median(ours):.2f} ms, ", end="")
    print(f"scipy {1e3 * statistics.median(theirs):.1f} ms, equal pairs and cost in {TURNS} of {TURNS}")


if __name__ == "__main__":
    main()
