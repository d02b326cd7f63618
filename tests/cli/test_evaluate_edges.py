"""`samjax evaluate edges` as it is typed."""

import json
import re

import numpy as np
import pytest
from helpers.made_bsds import write_bsds
from PIL import Image

from samjax.cli.main import main
from samjax.eval.protocols.edges import protocol
from samjax.eval.protocols.edges.edge_scores import THRESHOLDS
from samjax.eval.protocols.edges.matching import count
from samjax.eval.results import Results

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def bsds(tmp_path_factory):
    return write_bsds(tmp_path_factory.mktemp("bsds"), photos=4, height=96, width=128)


def run(bsds, out, *options: str) -> int:
    return main(["evaluate", "edges", "--data", str(bsds), "--out", str(out), *options])


@pytest.fixture(scope="module")
def evaluated(bsds, tmp_path_factory):
    out = tmp_path_factory.mktemp("canny") / "out"
    assert run(bsds, out, "--method", "canny") == 0
    return out


def test_results_table_and_pictures_are_written(evaluated, capsys):
    results = Results.read(evaluated)
    (row,) = results.rows
    assert (row.name, row.photos) == ("BSDS500 test", 4)
    assert list(row.metrics) == ["ODS", "OIS", "AP", "R50", "ODS threshold"]
    assert 0.5 < row.metrics["ODS"] <= row.metrics["OIS"] + 1e-9
    assert (results.checkpoint, results.settings["method"]) == ("canny", "canny")
    assert list(results.curves[0].x) == sorted(results.curves[0].x)
    for name in ("pr_curve.png", "sheet.png"):
        with Image.open(evaluated / name) as picture:
            assert min(picture.size) > 300
    assert "OIS" in (evaluated / "table.txt").read_text()


def test_what_is_counted_is_what_is_written(evaluated, bsds):
    recorded = dict(json.loads(line) for line in (evaluated / "photos.jsonl").read_text().splitlines())
    from samjax.eval.protocols.edges.bsds import open_bsds

    for photo in open_bsds(bsds).photos:
        edges = np.asarray(Image.open(evaluated / "edges" / f"{photo.id}.png"))
        counts = count(edges, photo.boundaries(), thresholds=THRESHOLDS)
        assert recorded[photo.id] == protocol.as_json(counts)


class Killed(BaseException):
    pass


def test_a_killed_evaluation_goes_on_to_the_same_numbers(evaluated, bsds, tmp_path, monkeypatch):
    out, real, calls = tmp_path / "out", protocol.count, []

    def dies_at_the_third(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(protocol, "count", dies_at_the_third)
    with pytest.raises(Killed):
        run(bsds, out, "--method", "canny")
    assert not (out / "results.json").exists()
    with open(out / "photos.jsonl", "ab") as file:
        file.write(b'["1003",{"found":[1,2')  # a line that a kill cut short
    begun = len(calls)
    assert run(bsds, out, "--method", "canny", "--resume") == 0
    assert len(calls) - begun == 2, "the two photos that were recorded are not counted again"
    for name in ("results.json", "table.txt"):
        assert (out / name).read_text() == (evaluated / name).read_text()
    assert (out / "sheet.png").read_bytes() == (evaluated / "sheet.png").read_bytes()


def test_the_gaussian_before_sobel_is_a_setting(bsds, tmp_path, capsys):
    found = {}
    for sigma in ("0", "2"):
        assert run(bsds, tmp_path / sigma, "--method", "sobel", "--sobel-sigma", sigma) == 0
        found[sigma] = Results.read(tmp_path / sigma)
        assert found[sigma].settings["sigma"] == float(sigma)
    assert found["0"].rows[0].metrics["ODS"] < found["2"].rows[0].metrics["ODS"], "the photos are noisy"
    assert run(bsds, tmp_path / "2", "--method", "sobel", "--resume") == 0, "2 pixels are the default"
    assert run(bsds, tmp_path / "2", "--method", "sobel", "--resume", "--sobel-sigma", "1") == 2
    assert "sigma" in capsys.readouterr().err


@pytest.mark.slow
def test_a_checkpoint_is_evaluated(bsds, checkpoint, tmp_path):
    assert run(bsds, tmp_path / "out", "--checkpoint", str(checkpoint), "--limit", "2") == 0
    results = Results.read(tmp_path / "out")
    assert results.rows[0].photos == 2
    assert results.settings["points_per_side"] == 16
    assert str(checkpoint) in results.checkpoint
    assert sorted(path.name for path in (tmp_path / "out" / "edges").iterdir()) == ["1000.png", "1001.png"]


def test_other_questions_are_not_mixed(evaluated, bsds, capsys):
    assert run(bsds, evaluated, "--method", "canny") == 2
    assert "--resume" in capsys.readouterr().err
    assert run(bsds, evaluated, "--method", "sobel", "--resume") == 2
    assert "was begun with checkpoint canny" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--method sam needs a checkpoint: give --checkpoint, or --method sobel or canny"),
        (("--method", "sobel", "--checkpoint", "x"), "--method sobel has no checkpoint: leave out --checkpoint"),
        (("--method", "sobel", "--limit", "0"), "--limit is 0; it must be at least 1"),
        (("--method", "sobel", "--split", "val"), "has no split val"),
        (("--method", "sobel", "--sigma", "3"), "--sigma"),
        (("--method", "sobel", "--sobel-sigma", "-1"), "--sobel-sigma is -1.0; it must be between 0 and 100"),
        (
            ("--method", "sobel", "--sobel-sigma", "nan"),
            "--sobel-sigma is nan; it must be a finite number, between 0 and 100",
        ),
        (("--method", "canny", "--sobel-sigma", "1"), "--sobel-sigma is for --method sobel, not canny: leave it out"),
    ],
)
def test_bad_input_is_told(options, message, bsds, tmp_path, capsys):
    assert run(bsds, tmp_path / "out", *options) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_an_error_unless_allowed(bsds, tmp_path, capsys):
    copy = tmp_path / "copy"
    write_bsds(copy, photos=2, height=48, width=64)
    (copy / "BSDS500" / "data" / "groundTruth" / "test" / "1001.mat").unlink()
    assert run(copy, tmp_path / "out", "--method", "sobel") == 2
    assert re.search(r"1 photos without ground truth \(1001.jpg\)", capsys.readouterr().err)
    assert run(copy, tmp_path / "out", "--method", "sobel", "--allow-missing") == 0
    assert "1 photos without ground truth left out" in capsys.readouterr().out
