"""Recall counted photo by photo against pycocotools run whole: the same numbers, to the last bit."""

import json

import numpy as np
import pytest
from scored_data import SIZE, as_lvis, coco_evaluation, random_content, random_results

from samjax.data.masks import rle
from samjax.scores.recall import PhotoMatches, average_recall, match_photo
from samjax.scores.truth import Truth

LIMITS = (2, 6, 1000)
SIZES = ("all", "small", "medium", "large")


def proposals(content, seed, **fields):
    """Return results of distinct scores: of equal ones COCO's library takes those of the first category first."""
    results = random_results(content, seed, **fields)
    return [{**one, "score": place / len(results)} for place, one in enumerate(results)]


def ours(content, results, limits=LIMITS):
    truth = Truth.of(content)
    photos = []
    for image in content["images"]:
        those = [one for one in results if one["image_id"] == image["id"]]
        ranked = [one["segmentation"] for one in sorted(those, key=lambda one: -one["score"])]
        said = json.loads(json.dumps(match_photo(truth, image["id"], ranked, limits=limits).to_json()))
        photos.append(PhotoMatches.from_json(said))
    return average_recall(photos)


def theirs(content, results, limits=LIMITS):
    """Return recall by size and limit: COCO's, without categories."""
    recall = coco_evaluation(content, results, "segm", useCats=0, maxDets=list(limits)).eval["recall"]
    assert recall.shape == (10, 1, 4, len(limits))

    def mean(values):
        return float(np.mean(values[values > -1])) if (values > -1).any() else None

    return {size: {limit: mean(recall[:, :, a, m]) for m, limit in enumerate(limits)} for a, size in enumerate(SIZES)}


@pytest.mark.parametrize("crowds", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_coco(seed, crowds):
    content = random_content(seed, crowds=crowds)
    results = proposals(content, seed + 50, of_photo=25)
    found = ours(content, results)
    assert found == theirs(content, results)
    assert 0 < found["all"][2] < found["all"][6] < found["all"][1000] < 1


@pytest.mark.parametrize("seed", range(2))
def test_lvis_frequencies_are_of_their_objects_alone(seed):
    content = as_lvis(random_content(seed, categories=6), seed)
    results = proposals(content, seed + 50)
    found = ours(content, results)
    frequency = {one["id"]: one["frequency"] for one in content["categories"]}
    content["annotations"] = [{**one, "iscrowd": 0} for one in content["annotations"] if one["area"] > 0]
    for name, letter in (("frequent", "f"), ("common", "c"), ("rare", "r")):
        part = [one for one in content["annotations"] if frequency[one["category_id"]] == letter]
        assert found[name] == theirs({**content, "annotations": part}, results)["all"]
    assert {size: found[size] for size in SIZES} == theirs(content, results)


def test_no_proposal_and_no_object():
    content = random_content(1)
    found = ours(content, [])
    assert set(found["all"].values()) == {0.0}
    assert found == theirs(content, [])
    empty = {**content, "annotations": []}
    assert ours(empty, random_results(content, 1)) == {size: dict.fromkeys(LIMITS) for size in SIZES}
    assert average_recall([]) == {}


def test_perfect_is_one():
    content = random_content(2, crowds=0.3)
    content["annotations"] = [one for one in content["annotations"] if one["area"] > 0]
    results = [{**one, "score": 0.5} for one in content["annotations"]]
    assert {value for group in ours(content, results).values() for value in group.values()} >= {1.0}
    assert ours(content, results)["all"][1000] == 1.0


def test_the_best_proposal_of_each_object():
    content = random_content(3, crowds=0.3)
    results = random_results(content, 9)
    photo = content["images"][0]["id"]
    ranked = [one["segmentation"] for one in results if one["image_id"] == photo]
    truth = Truth.of(content)
    objects = [one for one in truth.annotations if one["image_id"] == photo]
    best = match_photo(truth, photo, ranked, limits=(1000,)).best
    assert [place for place, *_ in best] == [n for n, one in enumerate(objects) if not one["iscrowd"]]
    masks = [rle.decode(one["counts"], height=SIZE[0], width=SIZE[1]) for one in ranked]
    for place, iou, rank in best:
        mask = rle.decode(objects[place]["segmentation"]["counts"], height=SIZE[0], width=SIZE[1])
        ious = [(mask & other).sum() / max(1, (mask | other).sum()) for other in masks]
        if mask.any():
            assert iou == pytest.approx(max(ious), abs=1e-12)
            assert ious[rank] == max(ious)
