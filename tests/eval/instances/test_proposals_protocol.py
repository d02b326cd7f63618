"""Everything found, ranked, matched and counted: with a generator whose masks are known."""

import json

import numpy as np
import pytest
from scored_data import coco_evaluation
from scored_photos import KilledError, Proposing, annotated, generated, killing, mask_of, squares

from samjax.core.errors import UserError
from samjax.eval.evaluation_folder import open_evaluation
from samjax.eval.protocols.proposals.protocol import ProposalConfig, paper_generator, propose, rank
from samjax.eval.protocols.proposals.report import proposal_results, write_report


def found_on(content, seed=0, *, perfect=False):
    """Return for each photo its objects, unless perfect some of them shifted or not found, and what is no object."""
    draw = np.random.default_rng(seed)
    found = {}
    for place, image in enumerate(content["images"]):
        masks = []
        for one in content["annotations"]:
            if one["image_id"] == image["id"]:
                mask = mask_of(one["segmentation"]["counts"])
                shift = 0 if perfect else int(draw.integers(0, 3))
                masks.append(generated(np.roll(mask, shift, 1), iou=draw.random(), stability=draw.random()))
        masks += [
            generated(draw.random((150, 170)) > 0.5, iou=draw.random(), stability=draw.random())
            for _ in range(0 if perfect else 12)
        ]
        draw.shuffle(masks)
        found[place] = masks
    return found


def run(path, content, found, *, most=1000, killed_after=None, resume=False, written=False, batch_size=2, **reading):
    data = annotated(content, unreadable=reading.get("unreadable", ()))
    config = ProposalConfig(generator=paper_generator(), most=most)
    generator = Proposing(found, batch_size=batch_size)
    photos = data.first(None, annotated=True)
    with open_evaluation(path, request={}, resume=resume) as folder, killing(killed_after) as watch:
        propose(
            generator,
            data.truth,
            photos,
            folder,
            config=config,
            allow_missing=reading.get("allow_missing", False),
            written=path / "proposals" if written else None,
            watch=watch,
        )
        results = proposal_results(
            data.truth, photos, folder, config=config, checkpoint="c", settings={}, left_out={"odd": 1}, notes=["noted"]
        )
        write_report(data.truth, photos, folder, results)
    return results, generator


def test_perfect_masks_are_100(tmp_path):
    content = squares(0)
    results, _ = run(tmp_path / "out", content, found_on(content, perfect=True))
    (row,) = results.rows
    assert {name: row.metrics[name] for name in ("AR@1000", "ARs", "ARm", "ARl", "AR@10", "AR@100")} == dict.fromkeys(
        ("AR@1000", "ARs", "ARm", "ARl", "AR@10", "AR@100"), 100.0
    )
    assert (row.photos, row.masks, row.name) == (4, len(content["annotations"]), "three masks a point")
    assert row.left_out == {"odd": 1}
    for name in ("ar.png", "worst.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("most", [3, 1000])
def test_the_proposals_written_score_the_same_elsewhere(tmp_path, most):
    """The best by the mean of predicted IoU and stability, and no more of them than are asked for."""
    content = squares(1, photos=6)
    results, _ = run(tmp_path / "out", content, found_on(content), most=most, written=True)
    written = [one for path in (tmp_path / "out" / "proposals").glob("*.json") for one in json.loads(path.read_text())]
    recall = coco_evaluation(content, written, "segm", useCats=0, maxDets=[most]).eval["recall"]
    metrics = results.rows[0].metrics
    for size, name in enumerate((f"AR@{most}", "ARs", "ARm", "ARl")):
        assert metrics[name] == 100 * np.mean(recall[:, :, size, 0])
    assert 0 < metrics[f"AR@{most}"] < 100
    assert ("AR@10" in metrics) is (most == 1000)
    assert metrics["proposals"] == len(written) / 5 <= most


def test_masks_are_ranked_by_both_scores():
    masks = [generated(np.ones((2, 2), bool), iou=iou, stability=s) for iou, s in ((0.9, 0.2), (0.6, 0.6), (0.1, 1.0))]
    assert rank(masks, most=2) == [masks[1], masks[0]]


@pytest.mark.parametrize("killed_after", [1, 3])
def test_one_that_was_killed_goes_on_to_the_same_numbers(tmp_path, killed_after):
    content = squares(2)
    found = found_on(content)
    whole, _ = run(tmp_path / "whole", content, found)
    with pytest.raises(KilledError):
        run(tmp_path / "cut", content, found, killed_after=killed_after, batch_size=1)
    resumed, generator = run(tmp_path / "cut", content, found, resume=True)
    assert resumed == whole
    assert len(generator.seen) == 4 - killed_after
    for name in ("worst.png", "ar.png"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_photo_that_cannot_be_read_ends_it_or_is_counted(tmp_path):
    content = squares(3)
    lost = content["images"][0]["id"]
    found = found_on(content, perfect=True)
    with pytest.raises(UserError, match=rf"{lost}\.jpg: no such file.*--allow-missing"):
        run(tmp_path / "refused", content, found, unreadable=[lost])
    results, _ = run(tmp_path / "allowed", content, found, unreadable=[lost], allow_missing=True)
    assert results.rows[0].left_out == {"odd": 1, "photos that cannot be read": 1}
    assert results.rows[0].metrics["AR@1000"] == 100.0


def test_the_papers_settings_and_a_number_that_is_none():
    config = paper_generator()
    assert (config.points_per_side, config.box_nms_threshold) == (64, 0.9)
    assert (config.pred_iou_threshold, config.stability_threshold, config.masks_per_point) == (0.0, 0.0, 3)
    assert paper_generator(points_per_side=8, masks_per_point=1).masks_per_point == 1
    with pytest.raises(UserError, match="most is 0; it must be at least 1"):
        ProposalConfig(generator=config, most=0)
