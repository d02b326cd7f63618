"""Parts of a list of photos, as jobs do them: together they are the whole, whatever happens to one of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.quick_generator import without_model
from PIL import Image

from samjax.cli.main import main
from samjax.core.folder import lock_folder
from samjax.data.photo_parts import ABOUT, REPORT, Part

TESTS = Path(__file__).parents[1]


@pytest.fixture
def pictures(tmp_path):
    """Ten photos, one of them black; two have one name, and two a number."""
    draw = np.random.default_rng(0)
    for place in ("a/one.jpg", "b/one.jpg", "7.jpg", "sa_8.jpg", *(f"photo_{number}.png" for number in range(6))):
        path = tmp_path / "pictures" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (20, 30, 3), np.uint8) * (place != "photo_0.png")
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "pictures"


@pytest.fixture
def run(checkpoint, pictures, tmp_path, monkeypatch):
    without_model(monkeypatch)

    def run(part=None, *options, images=(pictures / "*.*", pictures / "*/*.jpg"), out=tmp_path / "out"):
        words = ["--checkpoint", str(checkpoint), "--images", *map(str, images), "--out", str(out), *options]
        return main(["generate", *words, *(["--part", part] if part else [])])

    return run


def written(*folders) -> dict[str, bytes]:
    """Return every photo and JSON by name; none is in two folders."""
    paths = [path for folder in folders for path in folder.glob("sa_*")]
    assert len({path.name for path in paths}) == len(paths)
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize("total", [1, 2, 3, 16])
def test_parts_are_the_whole(run, tmp_path, total, capsys):
    """In any order: the same photos, ids, masks and bytes as one run, and counts that add up."""
    assert run(out=tmp_path / "whole") == 0
    for number in reversed(range(1, total + 1)):
        assert run(f"{number}/{total}") == 0
    folders = [tmp_path / "out" / Part(number=number, total=total).folder for number in range(1, total + 1)]
    assert written(*folders) == written(tmp_path / "whole")
    assert len(written(*folders)) == 20
    reports = [json.loads((folder / REPORT).read_text()) for folder in folders]
    assert sum(report["photos"] for report in reports) == sum(report["done"] for report in reports) == 10
    abouts = [json.loads((folder / ABOUT).read_text()) for folder in folders]
    assert len({about["list"]["sha256"] for about in abouts}) == 1
    assert abouts[0]["list"]["photos"] == 10
    said = capsys.readouterr().out
    shares = [report["photos"] for report in reports]
    for number, share in enumerate(shares, 1):
        assert f"part {number}/{total}: {share:,} of 10 photos\n" in said
        assert f"part {number}/{total}: {share:,} of {share:,} photos are done, 0 cannot be read; of {share:,} " in said
    assert said.count("done now 1 have no mask") == 1


def test_a_part_that_is_done_reads_no_weights(run, monkeypatch, capsys):
    assert run("1/2") == 0
    monkeypatch.setattr("samjax.predict.engine.Engine.from_checkpoint", lambda *_: pytest.fail("weights were read"))
    assert run("1/2") == 0
    assert "photos already" in capsys.readouterr().out


def test_a_second_process_of_a_part_is_refused_and_one_of_another_is_not(run, tmp_path, monkeypatch, capsys):
    """Before it reads the weights: the first may fill the accelerator."""
    assert run("1/2") == 0
    with lock_folder(tmp_path / "out" / "part-00002-of-00002"):
        assert run("1/2") == 0
        monkeypatch.setattr("samjax.predict.engine.Engine.from_checkpoint", lambda *_: pytest.fail("weights were read"))
        assert run("2/2") == 2
    said = capsys.readouterr().err
    assert "part-00002-of-00002 is in use by another run (process " in said
    assert said.count("\n") == 1
    assert not written(tmp_path / "out" / "part-00002-of-00002")


def test_another_list_settings_or_total_is_refused(run, pictures, tmp_path, capsys):
    """By the part itself and by those beside it, which all would give ids of their own."""
    assert run("1/2") == 0
    fewer = [pictures / "*.jpg"]
    for arguments, images, sentence in [
        (("1/2",), fewer, f"part-00001-of-00002 is a part of a list of 10 photos, {pictures}/7.jpg to {pictures}/sa_8"),
        (("2/2",), fewer, "--images lists 2 photos"),
        (("2/2", "--points-per-side", "5"), None, "holds masks made with points_per_side 32, now it is 5"),
        (("1/3",), None, "holds part-00001-of-00002, so --part 1/3 would do its photos again: give --part I/2"),
        ((None,), None, "holds part-00001-of-00002, which samjax generate did not write"),
    ]:
        assert run(*arguments, **({"images": images} if images else {})) == 2
        assert sentence in (said := capsys.readouterr().err)
        assert said.count("\n") == 1
    assert not written(*(tmp_path / "out").glob("part-00002*"))
    assert run(out=tmp_path / "whole") == 0
    assert run("1/2", out=tmp_path / "whole") == 2
    assert "holds masks made without --part" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--part", "0/4"], "--part is 0/4; give I/N"),
        (["--part", "1/4", "--tune", "x.json"], "--part does not apply with --tune"),
        (["--part", "1/4", "--out", "gs://bucket/masks"], "is in a bucket: give a folder"),
    ],
)
def test_bad_options_are_one_sentence(checkpoint, pictures, tmp_path, capsys, options, sentence):
    out = [] if "--out" in options else ["--out", str(tmp_path / "out")]
    words = ["generate", "--checkpoint", str(checkpoint), "--images", f"{pictures}/*.jpg", *out, *options]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_is_counted_named_and_done_when_it_can(run, pictures, tmp_path, capsys):
    """One bad photo is tolerated, as everywhere; more end with 2, after all others are done."""
    good = (pictures / "7.jpg").read_bytes()
    (pictures / "7.jpg").write_bytes(good[:300])
    assert run("1/1") == 0
    report = json.loads((tmp_path / "out" / "part-00001-of-00001" / REPORT).read_text())
    assert (report["photos"], report["done"], list(report["unreadable"])) == (10, 9, [f"{pictures}/7.jpg"])
    assert "9 of 10 photos are done, 1 cannot be read" in capsys.readouterr().out
    (pictures / "sa_8.jpg").write_text("none")
    assert run("1/1", out=tmp_path / "more") == 2
    assert "2 of 10 photos could not be read" in capsys.readouterr().err
    (pictures / "7.jpg").write_bytes(good)
    assert run("1/1") == 0
    report = json.loads((tmp_path / "out" / "part-00001-of-00001" / REPORT).read_text())
    assert (report["done"], report["unreadable"]) == (10, {})


@pytest.mark.slow
def test_killed_parts_lose_and_double_nothing(checkpoint, pictures, tmp_path):
    """kill -9 at every file that is moved into place, before and after."""
    words = [checkpoint, pictures / "**" / "*.*", tmp_path]
    script = TESTS / "cli" / "killed_part.py"
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
    folders = sorted((tmp_path / "killed").iterdir())
    assert [folder.name for folder in folders] == ["part-00001-of-00002", "part-00002-of-00002"]
    assert written(*folders) == written(tmp_path / "whole" / "part-00001-of-00001")
    assert not list((tmp_path / "killed").rglob(".*partial"))
