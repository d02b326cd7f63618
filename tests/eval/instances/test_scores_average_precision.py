"""Average precision against the field's libraries, run whole on the same content: the same numbers, to the last bit."""

import copy
import random

import numpy as np
import pytest
from reference_lvis import lvis_package
from scored_data import SIZE, as_lvis, coco_evaluation, parts, random_content, random_results

from samjax.data.annotations.problems import Problems
from samjax.data.masks import rle
from samjax.scores.average_precision import ResultPart, average_precision
from samjax.scores.truth import BAD_AREAS, BAD_BOXES, Truth

COCO = ("AP", "AP50", "AP75", "APs", "APm", "APl")
LVIS = (*COCO, "APr", "APc", "APf")


def number(value: float) -> float | None:
    """Return a library's figure as ours are: it says -1 of an average over nothing."""
    return None if value == -1 else float(value)


def theirs_coco(content, results, of):
    return dict(zip(COCO, map(number, coco_evaluation(content, results, of.value).stats), strict=False))


def theirs_lvis(content, results, of):
    with lvis_package() as lvis:
        truth = lvis.LVIS.__new__(lvis.LVIS)
        truth.logger = lvis.lvis.logging.getLogger("lvis")
        truth.dataset = copy.deepcopy(content)
        for one in truth.dataset["images"]:
            one["coco_url"] = ""
        truth._create_index()
        evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, parts(results, of.value)), of.value)
        evaluation.run()
        return {name: number(evaluation.get_results()[name]) for name in LVIS}


@pytest.mark.parametrize("of", ResultPart)
@pytest.mark.parametrize("crowds", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_coco(seed, crowds, of):
    """Crowds, masks without a pixel, sizes, categories and photos that only one side has, equal scores."""
    content = random_content(seed, crowds=crowds)
    results = random_results(content, seed + 100)
    assert any(not rle.decode(one["segmentation"]["counts"], height=SIZE[0], width=SIZE[1]).any() for one in results)
    ours = average_precision(Truth.of(content), results, of=of)
    assert ours == theirs_coco(content, results, of)
    assert 0.05 < ours["AP"] < 0.95


@pytest.mark.parametrize("of", ResultPart)
@pytest.mark.parametrize("ignored", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_lvis(seed, ignored, of):
    """Categories not searched for or not all of them, ignored objects, frequencies."""
    content = as_lvis(random_content(seed, categories=6), seed, ignored=ignored)
    results = random_results(content, seed + 100)
    ours = average_precision(Truth.of(content), results, of=of)
    assert ours == theirs_lvis(content, results, of)
    assert 0.05 < ours["AP"] < 0.95


def ranked(masks, places):
    """Return 320 detections of one photo, the last first: those at `places` by descending score are of `masks`."""
    nothing = rle.encode(rectangle(100, 100, 3))
    scores = np.linspace(1, 0, 320)
    found = [masks[places.index(n)] if n in places else nothing for n in range(320)]
    return [
        {"image_id": 1, "category_id": 1, "score": float(score), "segmentation": mask}
        for mask, score in zip(found, scores, strict=True)
    ][::-1]


def rectangle(top, left, side):
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_no_more_detections_than_the_benchmarks_look_at():
    """Of a photo COCO's 100 of a category, LVIS's 300, those with the highest scores."""
    masks = [rle.encode(rectangle(0, left, 20)) for left in (0, 30, 60)]
    annotations = [
        {
            "id": n,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "area": 400.0,
            "segmentation": mask,
            "bbox": [0, 0, 1, 1],
        }
        for n, mask in enumerate(masks, 1)
    ]
    image = {"id": 1, "height": SIZE[0], "width": SIZE[1]}
    content = {"images": [image], "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
    federated = as_lvis(content, 0)
    federated["images"][0]["not_exhaustive_category_ids"] = []
    found = {}
    for places in ((0, 150, 310), (0, 310, 311), (99, 150, 310), (100, 299, 310), (0, 299, 310), (0, 300, 310)):
        results = ranked(masks, places)
        coco, lvis = (average_precision(Truth.of(one), results, of=ResultPart.MASKS) for one in (content, federated))
        assert coco == theirs_coco(content, results, ResultPart.MASKS)
        assert lvis == theirs_lvis(federated, results, ResultPart.MASKS)
        found[places] = coco["AP"], lvis["AP"]
    assert found[0, 150, 310][0] == found[0, 310, 311][0] > found[99, 150, 310][0] > found[100, 299, 310][0] == 0
    assert found[0, 150, 310][1] > found[0, 299, 310][1] > found[0, 300, 310][1] == found[0, 310, 311][1]


@pytest.mark.parametrize("federated", [False, True])
def test_no_detection_at_all(federated):
    """0 where there are objects, and no number where there are none."""
    content = random_content(1)
    for one in content["annotations"]:
        one["area"] = 50.0
    truth = Truth.of(as_lvis(content, 0) if federated else content)
    ours = average_precision(truth, [], of=ResultPart.MASKS)
    assert {name for name, value in ours.items() if value == 0} >= {"AP", "AP50", "AP75", "APs"}
    assert ours["APm"] is None
    assert ours["APl"] is None
    if not federated:
        assert ours == theirs_coco(content, [], ResultPart.MASKS)
    nothing = Truth.of({**content, "annotations": []})
    assert set(average_precision(nothing, random_results(content, 3), of=ResultPart.MASKS).values()) == {None}


@pytest.mark.parametrize("of", ResultPart)
@pytest.mark.parametrize("federated", [False, True])
def test_perfect_is_one(federated, of):
    content = random_content(2, categories=6, crowds=0.0 if federated else 0.2)
    content["annotations"] = [
        one
        for one in content["annotations"]
        if rle.parse_runs(one["segmentation"]["counts"], height=150, width=170).size > 1
    ]
    content = as_lvis(content, 1) if federated else content
    results = [{**one, "score": 1.0} for one in content["annotations"]]
    ours = average_precision(Truth.of(content), results, of=of)
    assert {value for value in ours.values() if value is not None} == {1.0}


def test_the_order_of_detections_is_theirs_and_nothing_given_is_changed():
    content = random_content(3, crowds=0.2)
    results = random_results(content, 4)
    before = copy.deepcopy((content, results))
    truth = Truth.of(content)
    once = average_precision(truth, results, of=ResultPart.MASKS)
    assert average_precision(truth, results, of=ResultPart.MASKS) == once
    assert (content, results) == before
    shuffled = [{**one, "score": place / len(results)} for place, one in enumerate(results)]
    expected = average_precision(truth, shuffled, of=ResultPart.MASKS)
    random.Random(0).shuffle(shuffled)
    assert average_precision(truth, shuffled, of=ResultPart.MASKS) == expected


def test_nothing_is_printed(capsys):
    content = random_content(3)
    average_precision(Truth.of(content), random_results(content, 4), of=ResultPart.BOXES)
    assert capsys.readouterr() == ("", "")


def test_an_object_whose_id_is_0_counts():
    """COCO's library takes it for one that was not found."""
    content = random_content(2)
    content["annotations"] = [one for one in content["annotations"] if one["area"] > 100]
    for place, one in enumerate(content["annotations"]):
        one["id"] = place
    results = [{**one, "score": 1.0} for one in content["annotations"]]
    assert average_precision(Truth.of(content), results, of=ResultPart.MASKS)["AP"] == 1.0
    assert theirs_coco(content, results, ResultPart.MASKS)["AP"] < 1.0


def test_what_annotations_leave_out_comes_from_their_masks():
    content = random_content(4)
    bare = copy.deepcopy(content)
    for one, given in zip(bare["annotations"], content["annotations"], strict=True):
        for key in ("area", "bbox", "iscrowd"):
            del one[key]
        mask = rle.decode(given["segmentation"]["counts"], height=SIZE[0], width=SIZE[1])
        given["area"] = float(mask.sum())
        given["bbox"] = given["bbox"] if mask.any() else [0.0, 0.0, 0.0, 0.0]
    for ours, given in zip(Truth.of(bare).annotations, content["annotations"], strict=True):
        assert {key: ours[key] for key in ("area", "bbox", "iscrowd")} == {
            key: given[key] for key in ("area", "bbox", "iscrowd")
        }


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("area", float("nan"), BAD_AREAS),
        ("area", "12", BAD_AREAS),
        ("bbox", [1, 2, 3], BAD_BOXES),
        ("bbox", [1, 2, 0, 4], BAD_BOXES),
        ("bbox", [1, float("inf"), 3, 4], BAD_BOXES),
        ("bbox", [1, 2, 1e200, 1e200], BAD_BOXES),
        ("bbox", "box", BAD_BOXES),
    ],
)
def test_boxes_and_areas_that_make_no_sense_are_told(key, value, kind):
    content = random_content(4)
    content["annotations"][2][key] = value
    problems = Problems("it")
    Truth.of(content, problems)
    assert problems.counts() == {kind: 1}
