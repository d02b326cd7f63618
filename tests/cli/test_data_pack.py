"""Parts that `samjax generate` has done, packed: what one run gives, and what everything that reads tars takes."""

import shutil

import pytest
from helpers.quick_generator import without_model

from data_pipelines import sa1b
from data_pipelines.pack import pack
from samjax.api.tars import needs_preparing, prepare_once
from samjax.cli.main import main
from samjax.data.records import masks
from samjax.data.stream.sources import open_source


@pytest.fixture
def parts(checkpoint, photos, tmp_path, monkeypatch):
    """Three parts of the shipped photos for validation, generated without a model."""
    without_model(monkeypatch)
    words = ["--checkpoint", str(checkpoint), "--images", f"{photos}/val/*.tar", "--out", str(tmp_path / "parts")]
    for number in (3, 1, 2):
        assert main(["generate", *words, "--part", f"{number}/3"]) == 0
    assert main(["generate", *words[:-1], str(tmp_path / "one")]) == 0
    return tmp_path / "parts"


def test_parts_are_packed_as_one_run_is_and_everything_reads_them(parts, tmp_path, capsys):
    """`data verify`, `data prepare`, `data inspect` and what training prepares by itself."""
    out = tmp_path / "tars"
    assert main(["data", "pack", str(parts), "--out", str(out), "--photos-per-tar", "20", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "53 photos with 106 masks from 3 parts in 3 tars" in said
    pack(tmp_path / "one", tmp_path / "one_tars", photos_per_tar=20)
    assert [path.read_bytes() for path in sorted(out.glob("*.tar"))] == [
        path.read_bytes() for path in sorted((tmp_path / "one_tars").glob("*.tar"))
    ]
    assert main(["data", "verify", str(out)]) == 0
    assert "53 photos, 106 masks, in 3 tars" in (said := capsys.readouterr().out)
    assert "all is well" in said
    report = sa1b.prepare(str(out), tmp_path / "records")
    assert (report.records, report.masks, report.dropped) == (53, 106, 0)
    assert needs_preparing(str(out), masks.SCHEMA)
    assert len(open_source(prepare_once(str(out), tmp_path / "of_a_run"), "train")) == 53
    words = ["--out", str(tmp_path / "inspection"), "--photos", "2", "--image-size", "64", "64"]
    assert main(["data", "inspect", str(out), *words]) == 0


def test_photos_that_could_not_be_read_are_in_the_report(checkpoint, jpegs, tmp_path, monkeypatch, capsys):
    """All photos of the list are packed, or counted by why they are not."""
    without_model(monkeypatch)
    for number, jpeg in enumerate(jpegs[:4]):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg[:100] if number == 2 else jpeg)
    words = ["--checkpoint", str(checkpoint), "--images", f"{tmp_path}/*.jpg", "--out", str(tmp_path / "parts")]
    for number in (1, 2):
        assert main(["generate", *words, "--part", f"{number}/2"]) == 0
    report = pack(tmp_path / "parts", tmp_path / "tars")
    assert (report.photos, report.unreadable, report.parts) == (3, 1, 2)
    assert "1 more photos could not be read when masks were generated" in report.text()


def test_parts_that_are_not_whole_are_refused(parts, tmp_path, capsys):
    """Missing, unfinished, of another list, with lost pairs: each would leave out photos, or give ids twice."""
    second = parts / "part-00002-of-00003"
    about = (second / "generate.json").read_text()

    def refusal() -> str:
        assert main(["data", "pack", str(parts), "--out", str(tmp_path / "tars"), "--workers", "1"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert not (tmp_path / "tars").exists()
        return said

    report = (second / "generate_report.json").read_text()
    (second / "generate_report.json").unlink()
    assert "of 3 parts 1 are not done (2): run samjax generate --part 2/3" in refusal()
    (second / "generate_report.json").write_text(report)
    (second / "generate.json").write_text(about.replace('"photos": 53', '"photos": 54'))
    assert "has another list than the part before it" in refusal()
    (second / "generate.json").write_text("{")
    assert "generate.json is damaged" in refusal()
    (second / "generate.json").write_text(about)
    lost = next(second.glob("sa_*.json"))
    text = lost.read_text()
    lost.unlink()
    assert "complete pairs, but its generate_report.json says" in refusal()
    lost.write_text(text)
    shutil.move(second, tmp_path / "elsewhere")
    assert "of 3 parts 1 are missing (2)" in refusal()
