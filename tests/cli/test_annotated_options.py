"""`samjax data prepare` of annotated photos."""

import pytest
from helpers.made_annotations import ANNOTATIONS, rectangles, write_formats

from samjax.cli import annotated_options
from samjax.cli.main import main
from samjax.data.annotations.formats import Format
from samjax.data.stream.sources import open_source

COCO = ["--format", "coco"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_formats(tmp_path, {f"{number}.png": rectangles((2, 3, 10, 9), (12, 3, 20, 30)) for number in range(12)})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(*arguments):
    return main(["data", "prepare", "--out", "out", "--workers", "1", *arguments])


def test_one_command_writes_both_splits_of_every_format(folder, capsys):
    found = set()
    for format, place in ANNOTATIONS.items():
        out = f"records-{format.value}"
        options = ["--format", format.value, "--annotations", place, "--images", "images", "--out", out]
        assert main(["data", "prepare", "--workers", "1", "--holdout", "0.3", *options]) == 0
        output = capsys.readouterr().out
        assert "12 photos with 24 masks in 2 shards" in output
        found.add(tuple(len(open_source(out, split)) for split in ("train", "val")))
    assert len(found) == 1
    assert sum(*found) == 12


def test_formats_are_those_of_evaluation():
    assert {"sa1b", *annotated_options.FORMATS} == {format.value for format in Format}


def test_options_of_formats_are_those_of_evaluation(folder, capsys):
    maps = ["--format", "label-maps", "--annotations", "maps", "--images", "images"]
    assert prepare(*maps, "--ignore", "2") == 0
    assert "12 photos with 12 masks" in capsys.readouterr().out


GIVEN = [*COCO, "--annotations", "coco.json", "--images", "images"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*GIVEN, "--holdout", "0"], "--holdout is 0.0; it must be above 0 and below 1"),
        ([*GIVEN, "--holdout", "1"], "--holdout is 1.0; it must be above 0 and below 1"),
        ([*GIVEN, "--holdout", "-0.1"], "--holdout is -0.1; it must be above 0"),
        ([*GIVEN, "--holdout", "1.5"], "--holdout is 1.5; it must be above 0"),
        ([*GIVEN, "--holdout", "nan"], "--holdout is nan; it must be a finite number, above 0"),
        ([*GIVEN, "--holdout", "a tenth"], "--holdout is 'a tenth'; it must be a number"),
        ([*GIVEN, "--holdout", "0.1", "--split", "val"], "--split is val, where --holdout puts"),
        ([*GIVEN, "--split", "a b"], "'a b' cannot name a split"),
        ([*GIVEN, "--split", "a+b"], "'a+b' cannot name a split"),
        ([*GIVEN, "--runner", "DirectRunner"], "--runner is not for --format coco"),
        ([*GIVEN, "--longest-side", "9"], "--longest-side is for --format photos"),
        ([*GIVEN, "--source", "x"], "--source is not for --format coco"),
        ([*GIVEN, "--bogus", "3"], "bad override: "),
        ([*GIVEN, "--names", "x"], "--names is of the values of label maps: give --format label-maps and --classes"),
        ([*COCO, "--images", "images"], "--format coco needs --annotations"),
        ([*COCO, "--annotations", "coco.json"], "give their folder with --images"),
        ([*COCO, "--annotations", "none.json", "--images", "images"], "none.json: no such file"),
        ([*COCO, "--annotations", "coco.json", "--images", "none"], "none is not a folder"),
        ([*COCO, "--annotations", "coco.json", "--images", "maps/0.png"], "is not a folder"),
        ([*COCO, "--annotations", "panoptic.json", "--images", "images"], "give --format panoptic"),
        (
            [*COCO, "--annotations", "coco.json", "--images", "panoptic", "--holdout", "1e-12"],
            "falls into the split val",
        ),
        (["--annotations", "coco.json", "--images", "images"], "--annotations is for annotated photos: give --format"),
        (["--source", "x", "--holdout", "0.1"], "--holdout is for annotated photos"),
        ([], "--format sa1b needs --source"),
        (["--format", "photos"], "--format photos needs --source"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(folder, capsys, arguments, says):
    assert prepare(*arguments) == 2
    output = capsys.readouterr()
    assert says in output.err
    assert len(output.err.strip().splitlines()) == 1
    assert not (folder / "out").exists()
