"""The protocol over data sets: what is averaged, what is left out, and that it can end at any moment."""

import csv
import io

import numpy as np
import pytest
from clicked_data import SIZE, Neighbourhood, dataset_of, photo_of, rectangle, unreadable
from PIL import Image

from samjax.core.errors import UserError
from samjax.eval.evaluation_folder import open_evaluation
from samjax.eval.protocols.point_to_mask.clicking import ClickConfig
from samjax.eval.protocols.point_to_mask.protocol import click_datasets
from samjax.eval.protocols.point_to_mask.report import MEAN, cases, click_results, photo_table, write_report

CONFIG = ClickConfig(clicks=(1, 2))
# What the square of 25 pixels gives for objects of these sides: 25 / 81, 25 / 25, 9 / 25.
NINE, FIVE, THREE = (rectangle(10, 16, 19, 25), rectangle(12, 18, 17, 23), rectangle(13, 19, 16, 22))
NOTHING = np.zeros(SIZE, bool)


@pytest.fixture
def datasets():
    return [
        dataset_of("a", [photo_of(1, [NINE, NOTHING]), photo_of(2, [FIVE, NINE], crowd={1})], left_out={"odd maps": 3}),
        dataset_of("b", [photo_of(1, [THREE]), photo_of(5, [NINE, FIVE, THREE]), photo_of(6, [NINE], crowd={0})]),
    ]


class KilledError(Exception):
    pass


def run(path, datasets, *, resume=False, killed_after=None, allow_missing=False, at_once=2, predictor=None):
    seen = 0

    def watch(done: int) -> None:
        nonlocal seen
        seen += done
        if killed_after is not None and seen >= killed_after:
            raise KilledError

    with open_evaluation(path, request={"clicks": [1, 2]}, resume=resume) as folder:
        outcome = click_datasets(
            predictor or Neighbourhood(),
            datasets,
            folder,
            config=CONFIG,
            at_once=at_once,
            allow_missing=allow_missing,
            watch=watch,
        )
    return click_results(
        datasets, outcome.clicks, config=CONFIG, checkpoint="c", left_out=outcome.left_out, notes=["noted"]
    ), outcome


def test_the_table(tmp_path, datasets):
    """The mean over a data set's objects, then over data sets, each counting once."""
    results, _ = run(tmp_path / "out", datasets)
    a, b, mean = results.rows
    assert (a.name, a.photos, a.masks) == ("a", 2, 2)
    assert a.metrics["miou@1"] == pytest.approx((25 / 81 + 1) / 2)
    assert a.metrics["oracle@1"] == pytest.approx((49 / 81 + 1) / 2)
    assert a.left_out == {"odd maps": 3, "crowds": 1, "masks without a pixel": 1}
    assert (b.photos, b.masks, b.left_out) == (2, 4, {"crowds": 1})
    assert b.metrics["miou@1"] == pytest.approx((9 / 25 + 25 / 81 + 1 + 9 / 25) / 4)
    assert mean.name == MEAN
    assert mean.metrics["miou@1"] == pytest.approx((a.metrics["miou@1"] + b.metrics["miou@1"]) / 2)
    assert "noted" in results.table()
    assert "a: 3 odd maps left out" in results.table()
    assert [curve.name for curve in results.curves] == ["a", "b", MEAN]


@pytest.mark.parametrize("killed_after", [1, 2, 4])
def test_one_that_was_killed_goes_on_to_the_same_numbers(tmp_path, datasets, killed_after):
    """And clicks no photo twice; on another number of devices, too."""
    whole, _ = run(tmp_path / "whole", datasets)
    with pytest.raises(KilledError):
        run(tmp_path / "cut", datasets, killed_after=killed_after, at_once=1)
    records = tmp_path / "cut" / "photos.jsonl"
    before = records.read_bytes()
    records.write_bytes(before + b'["b/6",{"objec')  # a line that was being written
    again = Neighbourhood()
    resumed, _ = run(tmp_path / "cut", datasets, resume=True, predictor=again)
    assert resumed == whole
    assert records.read_bytes().startswith(before)
    clicked = sum(len(points) for points, *_ in again.asked) / len(CONFIG.clicks)
    assert clicked == 4 - len([line for line in before.splitlines() if b'"iou"' in line])


def test_a_photo_that_cannot_be_read_ends_it_or_is_counted(tmp_path, datasets):
    lost = [dataset_of("a", [photo_of(1, [NINE], read=unreadable), photo_of(2, [FIVE])])]
    with pytest.raises(UserError, match=r"lost\.jpg: no such file.*--allow-missing"):
        run(tmp_path / "refused", lost)
    results, _ = run(tmp_path / "allowed", lost, allow_missing=True)
    assert results.rows[0].metrics["miou@1"] == 1.0
    assert results.rows[0].left_out == {"photos that cannot be read": 1}


def test_nothing_to_average_is_no_number(tmp_path):
    results, _ = run(tmp_path / "out", [dataset_of("a", [photo_of(1, [NINE], crowd={0})])])
    assert set(results.rows[0].metrics.values()) == {None}
    assert not results.curves


def test_a_data_set_without_a_number_does_not_count_in_the_mean(tmp_path):
    data = [dataset_of("a", [photo_of(1, [NINE], crowd={0})]), dataset_of("b", [photo_of(1, [THREE])])]
    results, _ = run(tmp_path / "out", data)
    assert results.rows[-1].metrics["miou@1"] == pytest.approx(9 / 25)


def test_a_line_for_each_photo(tmp_path, datasets):
    _, outcome = run(tmp_path / "out", datasets)
    lines = list(csv.DictReader(io.StringIO(photo_table(datasets, outcome.clicks, CONFIG))))
    assert [(line["dataset"], line["photo"], line["name"], line["masks"]) for line in lines] == [
        ("a", "1", "1.jpg", "1"),
        ("a", "2", "2.jpg", "1"),
        ("b", "1", "1.jpg", "1"),
        ("b", "5", "5.jpg", "3"),
    ]
    assert float(lines[3]["miou@1"]) == pytest.approx((25 / 81 + 1 + 9 / 25) / 3, abs=1e-6)


def test_the_worst_and_the_median_cases(tmp_path):
    """Squares of 1 to 19 pixels a side, of which the one of 5 is right."""
    masks = [rectangle(20 - k // 2, 30 - k // 2, 21 + k // 2, 31 + k // 2) for k in range(1, 21, 2)]
    data = [dataset_of("a", [photo_of(1, masks)])]
    results, outcome = run(tmp_path / "out", data)
    worst, median = cases(data, outcome.clicks)
    ious = sorted(one.iou[0] for one in outcome.clicks["a"][1])
    assert [case.outcome.iou[0] for case in worst] == ious[:4]
    assert [case.outcome.iou[0] for case in median] == ious[4:8]
    write_report(tmp_path / "out", Neighbourhood(), data, outcome.clicks, results, CONFIG)
    for name, rows in (("worst.png", 4), ("median.png", 4)):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.height > rows * 200
            assert len(picture.getcolors(2**20) or ()) > 3
    assert (tmp_path / "out" / "clicks.png").read_bytes().startswith(b"\x89PNG")
