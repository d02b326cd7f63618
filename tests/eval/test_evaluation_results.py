"""The folder of an evaluation, its results, and two of them side by side."""

import json
import resource
import signal
import subprocess
import sys

import pytest

from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.annotations.problems import Problems
from samjax.eval.comparison import Comparison
from samjax.eval.evaluation_folder import open_evaluation
from samjax.eval.results import Results, Row
from samjax.pictures.plots import Curve


def results(value: float = 0.5, *, name: str = "voc", protocol: str = "point-to-mask", curves=True) -> Results:
    return Results(
        protocol=protocol,
        checkpoint="runs/a",
        settings={"clicks": [1, 2]},
        rows=[Row(name=name, metrics={"miou@1": value, "miou@2": None}, photos=2, masks=3, left_out={"crowds": 1})],
        curves=[Curve(name=name, x=[1.0, 2.0], y=[value, value])] if curves else (),
        axes=("clicks", "mean IoU"),
    )


def test_what_is_written_is_read_back(tmp_path):
    results().write(tmp_path)
    assert Results.read(tmp_path).table() == results().table()
    assert Results.read(tmp_path / "results.json").rows == list(results().rows)
    assert (tmp_path / "table.txt").read_text() == results().table() + "\n"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 1}', '{"format": 2, "rows": []}', "\0", '{"format": 1, "rows": 3}']
)
def test_other_files_are_refused(tmp_path, content):
    file = tmp_path / "results.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"results\.json"):
        Results.read(file)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda said: said["rows"][0]["metrics"].update({"miou@1": "0.5"}),
            "miou@1 of voc is '0.5', but must be a number",
        ),
        (lambda said: said["rows"].append(said["rows"][0]), "two rows are called 'voc'"),
        (lambda said: said.pop("curves"), "it has no 'curves'"),
        (lambda said: said.update(rows=3), "rows is 3, but must be a list"),
    ],
)
def test_what_of_a_file_is_wrong_is_said(tmp_path, change, says):
    results().write(tmp_path)
    said = json.loads((tmp_path / "results.json").read_text())
    change(said)
    (tmp_path / "results.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match=says):
        Results.read(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        Results.read(tmp_path)


def test_records_are_there_after_they_were_recorded(tmp_path):
    with open_evaluation(tmp_path / "out", request={"seed": 1}, resume=False) as folder:
        assert "a/1" not in folder
        folder.record("a/1", {"iou": (0.25,)})
        assert folder["a/1"] == {"iou": [0.25]}, "what a resumed evaluation would read"
    with open_evaluation(tmp_path / "out", request={"seed": 1}, resume=True) as folder:
        assert folder["a/1"] == {"iou": [0.25]}
        assert len(folder) == 1


def test_a_line_that_was_cut_short_is_written_anew(tmp_path):
    for cut in (1, 5):
        out = tmp_path / str(cut)
        with open_evaluation(out, request={}, resume=False) as folder:
            folder.record("a/1", 1)
            folder.record("a/2", 2)
        file = out / "photos.jsonl"
        file.write_bytes(file.read_bytes()[:-cut])
        with open_evaluation(out, request={}, resume=True) as folder:
            assert "a/2" not in folder
            folder.record("a/2", 3)
        with open_evaluation(out, request={}, resume=True) as folder:
            assert (folder["a/1"], folder["a/2"]) == (1, 3)


def test_a_damaged_line_between_others_is_refused(tmp_path):
    with open_evaluation(tmp_path, request={}, resume=False) as folder:
        folder.record("a/1", 1)
    (tmp_path / "photos.jsonl").write_bytes(b'["a/1",\n["a/2",2]\n')
    with pytest.raises(UserError, match="line 1 is damaged"), open_evaluation(tmp_path, request={}, resume=True):
        pass


def test_an_evaluation_goes_on_with_the_data_it_was_begun_with(tmp_path):
    """A record is of a photo by its number, which in other data is another's."""

    def opened(*photos):
        with open_evaluation(tmp_path, request={}, resume=True) as folder:
            folder.check_data(photos)

    opened("1 a.png", "2 b\udce9.png")
    opened("1 a.png", "2 b\udce9.png")
    for other in (["1 b\udce9.png"], ["1 a.png", "2 c.png"], []):
        with pytest.raises(UserError, match="was begun with other data"):
            opened(*other)


def test_a_folder_is_one_evaluations(tmp_path):
    def opened(path, asked, resume):
        with open_evaluation(path, request=asked, resume=resume):
            pass

    opened(tmp_path / "out", {"seed": 1}, False)
    with pytest.raises(UserError, match="give --resume"):
        opened(tmp_path / "out", {"seed": 1}, False)
    with pytest.raises(UserError, match="begun with seed 1, now it is 2"):
        opened(tmp_path / "out", {"seed": 2}, True)
    (tmp_path / "out" / "evaluation.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        opened(tmp_path / "out", {"seed": 1}, True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt"):
        opened(tmp_path / "other", {}, True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        opened(tmp_path / "file", {}, False)


def test_two_at_once_in_a_folder_are_refused(tmp_path):
    """The lock is a process's, so another one asks."""
    out = tmp_path / "out"
    code = f"""
from samjax.eval.evaluation_folder import open_evaluation
with open_evaluation({str(out)!r}, request={{}}, resume=True): pass
"""
    with open_evaluation(out, request={}, resume=False):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "is in use by another run" in done.stderr
    assert "give this one another --out" in done.stderr


@pytest.fixture
def full_disk():
    """Returns what makes files of more bytes fail, as on a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, limit[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path, full_disk):
    def fill() -> None:
        with open_evaluation(tmp_path / "out", request={}, resume=False) as folder:
            folder.record("a/1", 1)
            full_disk(20)
            folder.record("a/2", "long " * 10)

    with pytest.raises(UserError, match=r"photos\.jsonl cannot be written .*--resume"):
        fill()
    full_disk(2**30)
    with open_evaluation(tmp_path / "out", request={}, resume=True) as folder:
        assert folder["a/1"] == 1
        assert "a/2" not in folder
        folder.record("a/2", 2)
    with open_evaluation(tmp_path / "out", request={}, resume=True) as folder:
        assert (folder["a/1"], folder["a/2"]) == (1, 2)


def test_problems_are_told_together_or_counted():
    problems = Problems("a.json")
    for number in range(1200):
        problems.add("annotations of unknown categories", f"id {number}")
    problems.add("images whose photo is missing", "b.jpg")
    with pytest.raises(UserError) as refused:
        problems.settle(allow_missing=False)
    said = str(refused.value)
    assert said.startswith("a.json has 1,200 annotations of unknown categories (id 0, id 1, id 2, id 3, id 4, ...); ")
    assert "1 images whose photo is missing (b.jpg)" in said
    assert "--allow-missing" in said
    counts = {"annotations of unknown categories": 1200, "images whose photo is missing": 1}
    assert problems.settle(allow_missing=True) == counts
    assert Problems("b.json").settle(allow_missing=False) == {}


def test_two_side_by_side():
    table = Comparison.of(results(0.5), results(0.75)).table()
    assert "voc miou@1  0.500  0.750  +0.250" in table
    assert "voc miou@2      -      -       -" in table


def test_what_two_evaluations_do_not_share_is_said():
    mean = Row(name="mean", metrics={"miou@1": 0.5}, photos=2, masks=3)
    first, second = results(), results()
    other = Results(**{**vars(second), "settings": {"clicks": [1, 3]}, "rows": [*second.rows, mean]})
    said = Comparison.of(first, other).table()
    assert "clicks: A [1, 2], B [1, 3]" in said
    assert "only in B: mean" in said


def test_the_command_prints_and_draws(tmp_path, capsys):
    for place, curves in (("curves", True), ("bars", False)):
        for side, value in (("a", 0.5), ("b", 0.75)):
            (tmp_path / place / side).mkdir(parents=True)
            results(value, curves=curves).write(tmp_path / place / side)
        plot = tmp_path / f"{place}.png"
        sides = [str(tmp_path / place / side) for side in "ab"]
        assert main(["evaluate", "compare", *sides, "--plot", str(plot)]) == 0
        assert "+0.250" in capsys.readouterr().out
        assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("other", "said"), [({"protocol": "edges"}, "same protocol"), ({"name": "coco"}, "nothing in common")]
)
def test_evaluations_that_cannot_be_compared(other, said):
    with pytest.raises(UserError, match=said):
        Comparison.of(results(), results(**other))
