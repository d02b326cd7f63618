"""`samjax evaluate point-to-mask` as it is typed."""

import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from samjax.cli.main import main
from samjax.data.masks import rle
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.results import Results, Row

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """A COCO JSON of three photos with rectangles, another without, and its folder of photos."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "photos").mkdir()
    generator = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, 5):
        Image.fromarray(generator.integers(0, 256, (40, 56, 3), np.uint8)).save(folder / "photos" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 40, "width": 56})
        if number < 4:
            mask = np.zeros((40, 56), bool)
            mask[5 : 9 + 6 * number, 10:30] = True
            annotations.append({"id": number, "image_id": number, "category_id": 1, "segmentation": rle.encode(mask)})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (folder / "all.json").write_text(json.dumps(content))
    return folder


def run(coco, checkpoint, out, *options: str) -> int:
    data = ["--data", f"made={coco / 'all.json'}", "--images", str(coco / "photos")]
    data += [] if "--clicks" in options else ["--clicks", "1", "2"]
    return main(["evaluate", "point-to-mask", "--checkpoint", str(checkpoint), "--out", str(out), *data, *options])


@pytest.fixture(scope="module")
def evaluated(coco, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("points") / "out"
    assert run(coco, checkpoint, out, "--allow-unannotated") == 0
    return out


def test_results_table_and_pictures_are_written(evaluated):
    results = Results.read(evaluated)
    (row,) = results.rows
    assert (row.name, row.photos, row.masks) == ("made", 3, 3)
    assert row.left_out == {"images without annotations": 1}
    assert list(row.metrics) == ["miou@1", "miou@2", "oracle@1"]
    assert 0 <= row.metrics["miou@1"] <= row.metrics["oracle@1"] <= 1
    assert "1 images without annotations left out" in (evaluated / "table.txt").read_text()
    assert len((evaluated / "photos.csv").read_text().splitlines()) == 4
    for name in ("clicks.png", "worst.png"):
        with Image.open(evaluated / name) as picture:
            assert min(picture.size) > 300


def test_a_killed_one_goes_on_to_the_same_numbers(evaluated, coco, checkpoint, tmp_path, monkeypatch, capsys):
    class KilledError(BaseException):
        pass

    real = EvaluationFolder.record

    def dies_at_the_second(folder, key, result):
        if len(folder) == 1:
            raise KilledError
        real(folder, key, result)

    monkeypatch.setattr(EvaluationFolder, "record", dies_at_the_second)
    with pytest.raises(KilledError):
        run(coco, checkpoint, tmp_path / "out", "--allow-missing")
    monkeypatch.setattr(EvaluationFolder, "record", real)
    assert run(coco, checkpoint, tmp_path / "out", "--allow-missing") == 2
    assert "give --resume" in capsys.readouterr().err
    assert run(coco, checkpoint, tmp_path / "out", "--allow-missing", "--resume") == 0
    for name in ("results.json", "photos.jsonl", "photos.csv"):
        assert (tmp_path / "out" / name).read_text() == (evaluated / name).read_text()


def test_names_need_not_be_utf8(coco, checkpoint, tmp_path, capsys):
    """Of photos, of data sets, of the folder: all are written, printed, drawn and gone on with."""
    photos, maps, out = (tmp_path / os.fsdecode(name) for name in (b"photos\xff", b"maps\xff", b"out\xff"))
    for place in (photos, maps):
        place.mkdir()
    for number in range(1, 3):
        name = os.fsdecode(b"caf\xe9_%d.png" % number)
        shutil.copy(coco / f"photos/{number}.png", photos / name)
        mask = np.zeros((40, 56), np.uint8)
        mask[5 : 9 + 6 * number, 10:30] = 1
        Image.fromarray(mask).save(maps / name)
    asked = ["evaluate", "point-to-mask", "--checkpoint", str(checkpoint), "--out", str(out), "--clicks", "1", "2"]
    asked += ["--data", str(maps), "--format", "label-maps", "--images", str(photos)]
    assert main(asked) == 0
    assert "maps\\udcff" in capsys.readouterr().out
    first = {name: (out / name).read_bytes() for name in ("results.json", "photos.csv", "table.txt", "worst.png")}
    assert b"caf\\udce9_1.png" in first["photos.csv"]
    assert main([*asked, "--resume"]) == 0
    assert {name: (out / name).read_bytes() for name in first} == first
    (maps / os.fsdecode(b"caf\xe9_1.png")).unlink()
    assert main([*asked, "--resume", "--allow-unannotated"]) == 2
    assert "was begun with other data" in capsys.readouterr().err
    assert main([*asked, "--resume"]) == 2
    assert "1 photos without label maps (caf\\udce9_1.png)" in capsys.readouterr().err


def test_an_output_of_another_encoding_is_no_failure(monkeypatch, tmp_path):
    """As LANG=C has it, and names of files that no encoding has."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    Results(
        protocol="edges",
        checkpoint="c",
        settings={},
        rows=[Row(name="caf\u00e9", metrics={"ODS": 0.5}, photos=1)],
    ).write(tmp_path)
    plot = tmp_path / os.fsdecode(b"\xff.png")
    assert main(["evaluate", "compare", str(tmp_path), str(tmp_path), "--plot", str(plot)]) == 0
    sys.stdout.flush()
    assert rb"caf\xe9 ODS  0.500  0.500  +0.000" in written.getvalue()
    assert rb"\udcff.png" in written.getvalue()
    assert plot.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "1 images without annotations"),
        (("--allow-missing", "--clicks", "2", "1"), "clicks are"),
        (("--allow-missing", "--limit", "0"), "--limit is 0"),
        (("--allow-missing", "--most-masks", "0"), "--most-masks is 0"),
        (("--allow-missing", "--ingore", "3"), "ignore"),
        (("--allow-missing", "--data", "a=x.json"), "x.json: no such file"),
    ],
)
def test_bad_input_is_one_sentence(options, sentence, coco, checkpoint, tmp_path, capsys):
    assert run(coco, checkpoint, tmp_path / "out", *options) == 2
    assert sentence in capsys.readouterr().err
