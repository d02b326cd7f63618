"""A sample for people to correct: the same for the same seed, whatever else there is, and each mask has a name."""

import json

import pytest
from shards import good, members, record

from data_pipelines.pair_sample import SAMPLE, draw_sample
from data_pipelines.sa1b import prepare
from samjax.cli.main import main
from samjax.data.masks.mask_uuid import generated_uuid


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in good(40).items():
        (folder / name).write_bytes(content)
    return folder


def ids(folder) -> set[int]:
    return {int(path.stem.removeprefix("sa_")) for path in folder.glob("sa_*.json")}


def test_the_draw_depends_on_seed_and_ids_alone(pairs, tmp_path):
    """A larger sample holds a smaller; photos that come later change only what they are drawn in place of."""
    reports = {
        name: draw_sample(pairs, tmp_path / name, photos=photos, seed=seed)
        for name, photos, seed in [("five", 5, 0), ("again", 5, 0), ("ten", 10, 0), ("other", 5, 1)]
    }
    assert [report.photos for report in reports.values()] == [5, 5, 10, 5]
    assert ids(tmp_path / "five") == ids(tmp_path / "again") < ids(tmp_path / "ten")
    assert ids(tmp_path / "five") != ids(tmp_path / "other")
    assert ids(tmp_path / "five") == {1, 8, 14, 29, 31}, "another machine must draw the same"
    for name in ("five", "again"):
        assert json.loads((tmp_path / name / SAMPLE).read_text()) == json.loads(
            (tmp_path / "five" / SAMPLE).read_text()
        )
    for name, content in members(record(41)).items():
        (pairs / name).write_bytes(content)
    draw_sample(pairs, tmp_path / "later", photos=5, seed=0)
    assert len(ids(tmp_path / "later") - {41} - ids(tmp_path / "five")) == 0


def test_a_sample_is_in_sa1bs_layout_and_says_where_it_is_from(pairs, tmp_path):
    report = draw_sample(pairs, tmp_path / "out", photos=100, seed=0)
    assert (report.photos, report.among, report.masks, report.is_new) == (40, 40, 80, True)
    prepared = prepare(str(tmp_path / "out"), tmp_path / "records")
    assert (prepared.records, prepared.masks, prepared.dropped) == (40, 80, 0)
    about = json.loads((tmp_path / "out" / SAMPLE).read_text())
    assert about["source"] == str(pairs)
    assert set(about["images"]) == {str(number) for number in range(1, 41)}
    described = json.loads((tmp_path / "out" / "sa_7.json").read_text())
    assert (tmp_path / "out" / "sa_7.jpg").read_bytes() == (pairs / "sa_7.jpg").read_bytes()
    before = json.loads((pairs / "sa_7.json").read_text())
    for place, (one, old) in enumerate(zip(described["annotations"], before["annotations"], strict=True)):
        assert one.pop("uuid") == generated_uuid(7, place, old["segmentation"]["counts"])
        assert one == old


def test_a_mask_that_has_a_name_keeps_it(pairs, tmp_path):
    described = json.loads((pairs / "sa_7.json").read_text())
    described["annotations"][1]["uuid"] = "mine"
    (pairs / "sa_7.json").write_text(json.dumps(described))
    draw_sample(pairs, tmp_path / "out", photos=40, seed=0)
    assert json.loads((tmp_path / "out" / "sa_7.json").read_text())["annotations"][1]["uuid"] == "mine"


def test_names_of_masks_differ_and_last():
    """Written down: proposals that were accepted before must be found."""
    assert generated_uuid(7, 0, "abc") == "b05fdeb6-eb98-4ca4-b7a0-66aa355aafbf"
    names = {generated_uuid(photo, place, counts) for photo in (7, 70) for place in (0, 1) for counts in ("0a", "a")}
    assert len(names) == 8


def test_a_sample_that_people_have_corrected_is_left_as_it_is(pairs, tmp_path, capsys):
    words = ["annotate", "sample", str(pairs), "--photos", "3", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "3 of 40 photos with 6 masks\n" in capsys.readouterr().out
    path = next((tmp_path / "out").glob("sa_*.json"))
    path.write_text("corrected")
    assert main(words) == 0
    assert "drawn before and left as it is" in capsys.readouterr().out
    assert path.read_text() == "corrected"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seed", "1"], "exists already, and is no such sample"),
        (["--out", "{0}/file"], "is a file, expected a folder"),
        (["--out", "{0}/mine"], "exists already, and is no such sample"),
        (["--photos", "0"], "--photos is 0"),
    ],
)
def test_bad_input_is_one_sentence(pairs, tmp_path, capsys, words, sentence):
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.txt").touch()
    draw_sample(pairs, tmp_path / "out", photos=3, seed=0)
    given = [word.format(tmp_path) for word in words]
    out = [] if "--out" in given else ["--out", str(tmp_path / "out")]
    photos = [] if "--photos" in given else ["--photos", "3"]
    try:
        code = main(["annotate", "sample", str(pairs), *out, *photos, *given])
    except SystemExit as end:
        code = end.code
    assert code == 2
    said = capsys.readouterr().err
    assert sentence in said


def test_a_damaged_pair_that_is_drawn_is_named_and_nothing_written(pairs, tmp_path, capsys):
    (pairs / "sa_7.jpg").write_bytes(b"no photo")
    assert main(["annotate", "sample", str(pairs), "--out", str(tmp_path / "out")]) == 2
    assert "in: sa_7 cannot be drawn" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
