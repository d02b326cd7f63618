import json
import random
import tarfile
import warnings

import numpy as np
import pytest
from pycocotools import mask as coco

from samjax.data.masks import rle


def oracle(counts, height, width):
    with warnings.catch_warnings():  # pycocotools does not know NumPy 2's copy argument
        warnings.simplefilter("ignore", DeprecationWarning)
        return coco.decode({"size": [height, width], "counts": counts.encode()}).astype(bool)


def blobs(seed, height, width):
    rng = np.random.default_rng(seed)
    return rng.random((height, width)) < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])


@pytest.mark.parametrize("seed", range(20))
def test_runs_describe_the_mask(seed):
    """Runs alternate column by column, the first outside; parsed here they equal pycocotools' own decoding."""
    height, width = 3 + seed, 41 - seed
    mask = blobs(seed, height, width)
    counts = rle.encode(mask)["counts"]
    runs = rle.parse_runs(counts, height=height, width=width)
    inside = np.arange(len(runs)) % 2 == 1
    assert inside.size == 1 or runs[1:].min() > 0
    np.testing.assert_array_equal(rle.decode(counts, height=height, width=width), mask)
    np.testing.assert_array_equal(oracle(counts, height, width), mask)
    assert rle.area(runs) == mask.sum() == coco.area({"size": [height, width], "counts": counts.encode()})


def test_real_masks_parse(photos):
    with tarfile.open(photos / "val/sa_000000.tar") as shard:
        described = [json.load(shard.extractfile(name)) for name in shard.getnames() if name.endswith(".json")]
    for row in described:
        for annotation in row["annotations"]:
            height, width = annotation["segmentation"]["size"]
            runs = rle.parse_runs(annotation["segmentation"]["counts"], height=height, width=width)
            assert rle.area(runs) == annotation["area"]


MASK = np.eye(12, 9, dtype=bool)
COUNTS = rle.encode(MASK)["counts"]


@pytest.mark.parametrize(
    ("counts", "height", "width", "says"),
    [
        ("", 12, 9, "empty"),
        ("é", 12, 9, "outside the code"),
        (COUNTS[:3] + " " + COUNTS[3:], 12, 9, "outside the code"),
        (COUNTS[:3] + "\x7f" + COUNTS[4:], 12, 9, "outside the code"),
        (COUNTS, 12, 10, "runs cover 108 pixels but size says 12 x 10"),
        (COUNTS, 11, 9, "runs cover 108 pixels but size says 11 x 9"),
        (COUNTS[:-2], 12, 9, "runs cover"),
        (COUNTS + "o", 12, 9, "inside a number"),
        ("oooooooo0", 12, 9, "too large"),
        ("N", 12, 9, "negative"),
        (COUNTS, 0, 9, "is not between"),
        (COUNTS, 12, -9, "is not between"),
        (COUNTS, 2**20, 2**20, "is not between"),
    ],
)
def test_what_is_no_mask_is_refused_with_the_reason(counts, height, width, says):
    with pytest.raises(rle.RleError, match=says):
        rle.decode(counts, height=height, width=width)


def test_mutated_counts_are_refused_or_cover_the_size():
    """Whatever a file says, the runs cover the size or the mask is refused."""
    rng = random.Random(0)
    accepted = 0
    for _ in range(3000):
        counts = list(COUNTS)
        for _ in range(rng.randint(1, 3)):
            counts[rng.randrange(len(counts))] = chr(rng.randint(40, 120))
        try:
            decoded = rle.decode("".join(counts), height=12, width=9)
        except rle.RleError:
            continue
        accepted += 1
        np.testing.assert_array_equal(oracle("".join(counts), 12, 9), decoded)
    assert accepted > 0
