"""Pascal Context as its authors give it: MATLAB files of 459 values, of which a table finds its classes by name."""

import numpy as np
import pytest
from PIL import Image
from scipy import sparse
from scipy.io import savemat

from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.annotations.matlab_maps import read_label_map
from samjax.data.annotations.pngs import PngError
from samjax.data.classes.class_table import read_class_table
from samjax.data.classes.record_classes import read_record_classes
from samjax.data.classes.value_names import read_value_names, with_values_of
from samjax.data.records import segments
from samjax.data.stream.sources import open_source

NUMBERS: tuple[int, ...] = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158,
    159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360,
    366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458
)  # fmt: skip
"""Of the 59 classes among the 459, in the alphabetical order of both, as mmsegmentation's converter has them."""
TABLE = read_class_table("pascal_context")


@pytest.fixture
def labels(tmp_path):
    """A list as the authors' labels.txt."""
    own = dict(zip(NUMBERS, TABLE.names, strict=True))
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"{number}: {own.get(number, f'other {number}')}\n" for number in range(1, 460)))
    return path


def test_the_authors_files_become_records_of_59_classes(labels, tmp_path, capsys):
    drawn = np.random.default_rng(0).choice([0, 1, 2, 9, 255, 459, *NUMBERS], (12, 16)).astype(np.uint16)
    for kind in ("trainval", "JPEGImages"):
        (tmp_path / kind).mkdir()
    savemat(tmp_path / "trainval" / "2008_000002.mat", {"LabelMap": drawn}, do_compression=True)
    Image.new("RGB", (16, 12)).save(tmp_path / "JPEGImages" / "2008_000002.jpg")
    given = ["--annotations", f"{tmp_path}/trainval", "--images", f"{tmp_path}/JPEGImages", "--out", f"{tmp_path}/out"]
    command = ["data", "prepare", "--format", "label-maps", *given, "--classes", "pascal_context", "--workers", "1"]
    assert main([*command, "--names", str(labels)]) == 2
    assert "give --map-suffix .mat" in capsys.readouterr().err
    assert main([*command, "--map-suffix", ".mat"]) == 2
    assert "the table of classes does not have the values" in capsys.readouterr().err
    assert main([*command, "--map-suffix", ".mat", "--names", str(labels)]) == 0
    assert read_record_classes(f"{tmp_path}/out").names == TABLE.names
    record = segments.decode_record(open_source(f"{tmp_path}/out", "train", segments.SCHEMA)[0])
    expected = np.full(drawn.shape, segments.UNLABELLED)
    for place, number in enumerate(NUMBERS):
        expected[drawn == number] = place
    np.testing.assert_array_equal(record.classes(), expected)


@pytest.mark.parametrize(
    "values", [np.array([[0, 459]], np.uint16), np.array([[0.0, 459.0]]), sparse.csc_matrix([[0.0, 459.0]])], ids=str
)
def test_numbers_of_any_kind_are_read(values, tmp_path):
    savemat(tmp_path / "a.mat", {"LabelMap": values})
    found = read_label_map(tmp_path / "a.mat")
    assert (found.dtype, found.tolist()) == (np.int32, [[0, 459]])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"Labels": np.eye(3)}, "it has no matrix LabelMap"),
        ({"LabelMap": "text"}, "it has no matrix LabelMap"),
        ({"LabelMap": np.zeros((2, 2, 3))}, "it has no matrix LabelMap"),
        ({"LabelMap": np.array([[0.5]])}, "other numbers than whole ones"),
        ({"LabelMap": np.array([[np.inf]])}, "other numbers than whole ones"),
        ({"LabelMap": np.array([[-1]])}, "other numbers than whole ones"),
        ({"LabelMap": np.array([[65_536]])}, "other numbers than whole ones from 0 to 65,535"),
    ],
)
def test_other_contents_are_refused(content, sentence, tmp_path):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(PngError, match=sentence):
        read_label_map(tmp_path / "a.mat")


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"no such file" * 40)
    with pytest.raises(PngError, match="it is not a MATLAB file of version 5"):
        read_label_map(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("1: bench\ntrack\n", r"line 2: 'track' is not of the form `12: bench`"),
        ("1: bench\n1: track\n", r"line 2: 1 is track and bench"),
        ("\n", "is empty"),
        ("1: bench\n", r"does not have the classes aeroplane, bag, bed, bedclothes, bicycle and 53 more"),
        (None, "cannot be read"),
    ],
)
def test_a_list_that_names_no_classes_is_refused(lines, sentence, tmp_path):
    if lines is not None:
        (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(UserError, match=sentence):
        with_values_of(TABLE, read_value_names(tmp_path / "list.txt"), origin="list.txt")
