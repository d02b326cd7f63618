"""Boxes to masks to scores: with a model that knows the answer, and one that ends at any moment."""

import json

import numpy as np
import pytest
from scored_data import SIZE, coco_evaluation
from scored_photos import KilledError, Knowing, annotated, killing, mask_of, squares, write_json

from samjax.core.errors import UserError
from samjax.data.masks import rle
from samjax.eval.evaluation_folder import open_evaluation
from samjax.eval.prompt_groups import AT_ONCE
from samjax.eval.protocols.instances.detections import (
    NO_BOXES,
    NO_OBJECTS,
    NO_SCORES,
    OTHER_CATEGORIES,
    OTHER_PHOTOS,
    read_detections,
    true_boxes,
)
from samjax.eval.protocols.instances.protocol import segment_photos
from samjax.eval.protocols.instances.report import (
    BOXES,
    ONE_PASS,
    REFINED_ROW,
    instance_results,
    photo_case,
    write_report,
)
from samjax.scores.truth import Truth


def run(
    path,
    content,
    detections=None,
    *,
    refine=True,
    killed_after=None,
    resume=False,
    at_once=2,
    model=None,
    report=False,
    allow_missing=False,
    unreadable=(),
):
    data = annotated(content, unreadable=unreadable)
    if detections is None:
        detections, _ = true_boxes(data.truth, data.photos)
    with open_evaluation(path, request={}, resume=resume) as folder, killing(killed_after) as watch:
        segment_photos(
            model or Knowing(content),
            data.photos,
            detections,
            folder,
            refine=refine,
            at_once=at_once,
            allow_missing=allow_missing,
            watch=watch,
        )
        results = instance_results(
            data.truth,
            data.photos,
            detections,
            folder,
            refine=refine,
            checkpoint="c",
            settings={},
            left_out={},
            notes=[],
        )
        if report:
            write_report(data.truth, data.photos, folder, results, refine=refine)
            cases = [photo_case(data.truth, photo, folder, refine=refine) for photo in data.photos]
            return results, cases
    return results


def test_true_boxes_and_perfect_masks_are_100(tmp_path):
    """The most confident of three masks is taken; the second pass is scored on its own."""
    once = run(tmp_path / "out", squares(0))
    rows = {row.name: row for row in once.rows}
    assert list(rows) == [BOXES, ONE_PASS, REFINED_ROW]
    for name in (BOXES, ONE_PASS):
        assert set(rows[name].metrics.values()) == {100.0}
    assert 0 < rows[REFINED_ROW].metrics["AP"] < 100
    assert (rows[ONE_PASS].photos, rows[ONE_PASS].masks) == (5, len(squares(0)["annotations"]))
    assert "1 of the photos have no box to prompt with" in once.notes
    assert [row.name for row in run(tmp_path / "no", squares(0), refine=False).rows] == [BOXES, ONE_PASS]
    assert not (tmp_path / "no" / "refined.json").exists()


def detections_of(content, seed=0):
    """Return a detector's results: true boxes, some of them shifted, twice each, and one where nothing is."""
    draw = np.random.default_rng(seed)
    results = [
        {"image_id": one["image_id"], "category_id": one["category_id"], "bbox": list(one["bbox"]), "score": score}
        for one in content["annotations"]
        for score in draw.random(2).tolist()
    ]
    for one in results[::3]:
        one["bbox"][0] += 3.5
    last = content["images"][-1]["id"]
    return [*results, {"image_id": last, "category_id": 1, "bbox": [-5, -5, 20.5, 30], "score": 0.99}]


def test_the_files_score_the_same_elsewhere(tmp_path):
    """pycocotools, given the results written, finds the figures of the table; scores are the detector's."""
    content = squares(1)
    path = write_json(tmp_path / "detections.json", detections_of(content))
    data = annotated(content)
    detections, left_out = read_detections(
        path, photos=data.photos, categories=data.truth.frequencies, allow_missing=False
    )
    assert not left_out
    results = run(tmp_path / "out", content, detections)
    given = json.loads((tmp_path / "detections.json").read_text())
    for row, file, kind in zip(
        results.rows, (None, "predictions.json", "refined.json"), ("bbox", "segm", "segm"), strict=True
    ):
        written = given if file is None else json.loads((tmp_path / "out" / file).read_text())
        stats = coco_evaluation(content, written, kind).stats[:6]
        assert [row.metrics[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")] == [100 * s for s in stats]
        assert sorted(one["score"] for one in written) == sorted(one["score"] for one in given)
    assert 0 < results.rows[1].metrics["AP"] < 100


def test_any_number_of_boxes_in_groups_that_are_compiled_for(tmp_path):
    """17 boxes are 16 and 4; a photo whose boxes are done waits for the others."""
    content = squares(2, photos=3)
    first, second = (image["id"] for image in content["images"][:2])
    own = {number: [one for one in content["annotations"] if one["image_id"] == number] for number in (first, second)}
    many = [
        {"image_id": first, "category_id": 1, "bbox": own[first][n % 2]["bbox"], "score": 1.0}
        for n in range(AT_ONCE + 1)
    ] + [{"image_id": second, "category_id": 1, "bbox": own[second][0]["bbox"], "score": 1.0}]
    data = annotated(content)
    detections, _ = read_detections(
        write_json(tmp_path / "d.json", many), photos=data.photos, categories={1: None}, allow_missing=False
    )
    model = Knowing(content)
    run(tmp_path / "out", content, detections, model=model)
    assert {count for _, count, _ in model.asked} == {16, 4}
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(written) == len(many)
    for one, asked in zip(written, many, strict=True):
        truth = next(t for t in own[one["image_id"]] if t["bbox"] == asked["bbox"])
        assert one["segmentation"] == truth["segmentation"]


@pytest.mark.parametrize("killed_after", [2, 4])
def test_one_that_was_killed_goes_on_to_the_same_numbers(tmp_path, killed_after):
    content = squares(3)
    whole = run(tmp_path / "whole", content)
    with pytest.raises(KilledError):
        run(tmp_path / "cut", content, killed_after=killed_after, at_once=1)
    again = Knowing(content)
    assert run(tmp_path / "cut", content, resume=True, model=again) == whole
    for name in ("predictions.json", "refined.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len({place for place, *_ in again.asked}) == 5 - killed_after


def test_a_photo_that_cannot_be_read_ends_it_or_is_not_scored(tmp_path):
    content = squares(4)
    lost = content["images"][1]["id"]
    with pytest.raises(UserError, match=rf"{lost}\.jpg: no such file.*--allow-missing"):
        run(tmp_path / "refused", content, unreadable=[lost])
    results = run(tmp_path / "allowed", content, unreadable=[lost], allow_missing=True)
    assert results.rows[1].metrics["AP"] == 100.0
    assert results.rows[0].left_out == {"photos that cannot be read": 1}
    assert results.rows[0].masks == sum(one["image_id"] != lost for one in content["annotations"])


def test_the_report(tmp_path):
    content = squares(5, photos=10)
    _, cases = run(tmp_path / "out", content, report=True)
    assert cases[-1] is None
    for case in cases[:-1]:
        assert case.mean(ONE_PASS) == 1.0
        assert 0 < case.mean(REFINED_ROW) < 1
        assert [one.mask for one in case.overlaps[ONE_PASS]] == list(case.objects)
        assert all(mask_of(one.mask).any() for one in case.overlaps[REFINED_ROW])
    for name in ("ap.png", "worst.png", "median.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_detections_that_cannot_be_used_are_told_at_once(tmp_path):
    content = squares(6)
    data = annotated(content)
    good = detections_of(content)
    bad = {
        OTHER_PHOTOS: [{"image_id": 999}, {"image_id": "2"}, {"image_id": None}],
        OTHER_CATEGORIES: [{"category_id": 80}, {"category_id": [1]}],
        NO_BOXES: [
            {"bbox": box}
            for box in (
                [1, 2, 0, 3],
                [1, 2, 3, -1],
                [1, 2, float("nan"), 3],
                [1, 2, 3],
                None,
                [500, 2, 3, 4],
                [-9, 0, 9, 9],
            )
        ],
        NO_SCORES: [{"score": score} for score in (float("nan"), None, "0.5", True, float("inf"))],
    }
    spoilt = [{**good[0], **change} for those in bad.values() for change in those]
    path = write_json(tmp_path / "d.json", good + spoilt)
    asked = {"photos": data.photos, "categories": data.truth.frequencies}
    with pytest.raises(UserError) as told:
        read_detections(path, **asked, allow_missing=False)
    for kind, those in bad.items():
        assert f"{len(those)} {kind}" in str(told.value)
    kept, left_out = read_detections(path, **asked, allow_missing=True)
    assert left_out == {kind: len(those) for kind, those in bad.items()}
    assert sum(map(len, kept.values())) == len(good)


@pytest.mark.parametrize("content", [{"annotations": []}, [1, 2], "text"])
def test_what_is_no_list_of_detections(tmp_path, content):
    with pytest.raises(UserError, match="no list of detections: give COCO's results JSON"):
        read_detections(write_json(tmp_path / "d.json", content), photos=[], categories={}, allow_missing=True)


def test_crowds_and_objects_without_a_box_are_not_prompted():
    content = squares(7)
    content["annotations"][0]["iscrowd"] = 1
    empty = {**content["annotations"][1], "id": 99, "segmentation": rle.encode(np.zeros(SIZE, bool))}
    del empty["bbox"]
    content["annotations"].append(empty)
    truth = Truth.of(content)
    boxes, left_out = true_boxes(truth, annotated(content).photos)
    assert left_out == {NO_OBJECTS: 1}
    assert sum(map(len, boxes.values())) == len(content["annotations"]) - 2
