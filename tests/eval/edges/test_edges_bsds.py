"""BSDS500's folders and MATLAB files, as they should be and as they should not."""

import re
import zlib

import numpy as np
import pytest
from helpers.made_bsds import made_photo, write_bsds, write_truth
from PIL import Image
from scipy import sparse
from scipy.io import savemat

from samjax.core.errors import UserError
from samjax.data import matlab_file
from samjax.eval.protocols.edges.bsds import open_bsds
from samjax.eval.protocols.edges.bsds_boundaries import read_boundaries


@pytest.fixture
def root(tmp_path):
    return write_bsds(tmp_path / "BSR", photos=3, height=40, width=50)


def folders(root):
    return [root / "BSDS500" / "data" / kind / "test" for kind in ("images", "groundTruth")]


def test_what_was_written_is_read(root):
    dataset = open_bsds(root, split="test")
    assert [photo.id for photo in dataset.photos] == ["1000", "1001", "1002"]
    for seed, photo in enumerate(dataset.photos):
        _, drawn = made_photo(seed, height=40, width=50)
        assert (photo.height, photo.width) == (40, 50)
        assert (photo.read() == np.asarray(Image.open(folders(root)[0] / f"{photo.id}.jpg"))).all()
        assert all((one == other).all() for one, other in zip(photo.boundaries(), drawn, strict=True))
    assert dataset.left_out == {}


@pytest.mark.parametrize("level", [".", "BSR", "BSR/BSDS500", "BSR/BSDS500/data"])
def test_any_level_of_the_folder_may_be_given(root, level):
    assert len(open_bsds(root.parent / level).photos) == 3


def test_a_folder_without_splits_is_read_whole(tmp_path):
    root = write_bsds(tmp_path / "made", photos=2, height=40, width=50)
    for kind in ("images", "groundTruth"):
        (root / "BSDS500" / "data" / kind / "test").rename(tmp_path / kind)
    dataset = open_bsds(tmp_path)
    assert (len(dataset.photos), dataset.name) == (2, tmp_path.name)


def test_all_that_is_wrong_is_told_at_once_and_left_out_when_allowed(root):
    images, truths = folders(root)
    (truths / "1001.mat").unlink()
    write_truth(truths / "77.mat", [np.eye(9, dtype=bool)])
    Image.new("RGB", (30, 20)).save(images / "2000.jpg")
    write_truth(truths / "2000.mat", [np.eye(20, dtype=bool)])
    (images / "2001.jpg").write_bytes(b"no picture")
    write_truth(truths / "2001.mat", [np.eye(20, dtype=bool)])
    (truths / "1002.mat").write_bytes(b"no such file" * 40)
    with pytest.raises(UserError) as told:
        open_bsds(root)
    for part in (
        r"1 photos without ground truth \(1001.jpg\)",
        r"1 ground truth files without a photo \(77.mat\)",
        r"1 photos that cannot be read \(2001.jpg",
        r"another size than their photo \(2000.mat: 20 x 20, its photo 30 x 20\)",
        r"cannot be used \(1002.mat is not a MATLAB file of version 5",
        "--allow-missing",
    ):
        assert re.search(part, str(told.value)), part
    dataset = open_bsds(root, allow_missing=True)
    assert [photo.id for photo in dataset.photos] == ["1000"]
    assert sum(dataset.left_out.values()) == 5


def test_nothing_left_is_an_error(root):
    _, truths = folders(root)
    for truth in truths.iterdir():
        truth.unlink()
    with pytest.raises(UserError, match="of 3 photos none"):
        open_bsds(root, allow_missing=True)


@pytest.mark.parametrize(
    ("split", "inside", "message"),
    [("val", "", "has no split val, .* give --split test"), ("test", "BSDS500/data/images", "no folders images and")],
)
def test_folders_that_are_not_there(root, split, inside, message):
    with pytest.raises(UserError, match=message):
        open_bsds(root / inside, split=split)


def cell(*entries):
    cells = np.empty((1, len(entries)), object)
    cells[0, :] = entries
    return cells


DRAWN = made_photo(0, height=12, width=15, people=1)[1][0]
CLASSES = [bool, np.uint8, np.int8, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.float64]


@pytest.mark.parametrize(
    "boundaries",
    [*(DRAWN.astype(one) for one in CLASSES), sparse.csc_matrix(DRAWN), sparse.csc_matrix(DRAWN.astype(float))],
    ids=lambda one: f"{type(one).__name__} {one.dtype}",
)
def test_boundaries_are_0_and_1_of_any_class(tmp_path, boundaries):
    savemat(tmp_path / "a.mat", {"groundTruth": cell({"Boundaries": boundaries}, {"Boundaries": boundaries})})
    structs = np.zeros((1, 2), [("Boundaries", object)])
    structs["Boundaries"][0] = [boundaries] * 2
    savemat(tmp_path / "b.mat", {"groundTruth": structs})
    for name in ("a.mat", "b.mat"):
        read = read_boundaries(tmp_path / name)
        assert len(read) == 2
        assert all(one.dtype == bool and (one == DRAWN).all() for one in read)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.eye(3)}, "has no cell array groundTruth"),
        ({"groundTruth": np.eye(3)}, "has no cell array groundTruth"),
        ({"groundTruth": np.empty((1, 0), object)}, "has 0 annotators"),
        ({"groundTruth": cell({"Segmentation": np.eye(3)})}, "no struct with Boundaries for annotator 1"),
        ({"groundTruth": cell({"Boundaries": np.eye(3, dtype=bool)}, 3.0)}, "for annotator 2"),
        ({"groundTruth": cell({"Boundaries": "text"})}, "not a picture of 0 and 1"),
        ({"groundTruth": cell({"Boundaries": 0.5 * np.eye(3)})}, "not a picture of 0 and 1"),
        ({"groundTruth": cell({"Boundaries": np.full((3, 3), np.nan)})}, "not a picture of 0 and 1: nan is one"),
        ({"groundTruth": cell({"Boundaries": 1j * np.eye(3)})}, "not a picture of 0 and 1"),
        ({"groundTruth": cell({"Boundaries": -np.eye(3)})}, "other numbers than 0 and 1: -1 is one"),
        ({"groundTruth": cell({"Boundaries": sparse.csc_matrix(7 * np.eye(3))})}, "other numbers than 0 and 1: 7 is"),
        ({"groundTruth": cell({"Boundaries": sparse.csc_matrix((9_000, 9_000))})}, "or too large a one"),
        ({"groundTruth": cell({"Boundaries": np.zeros((0, 0), bool)})}, "not a picture of 0 and 1"),
        ({"groundTruth": cell({"Boundaries": 2 * np.eye(3, dtype=np.uint8)})}, "other numbers than 0 and 1"),
        (
            {"groundTruth": cell({"Boundaries": np.eye(3, dtype=bool)}, {"Boundaries": np.eye(4, dtype=bool)})},
            "several sizes",
        ),
    ],
)
def test_other_contents_are_refused(tmp_path, content, message):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(ValueError, match=message):
        read_boundaries(tmp_path / "a.mat")


def test_a_file_cut_short_or_damaged_is_refused(tmp_path):
    whole = tmp_path / "a.mat"
    write_truth(whole, made_photo(0, height=40, width=50)[1])
    content = whole.read_bytes()
    for length in (0, 100, 130, 140, len(content) // 2, len(content) - 9):
        whole.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cannot be read|not a MATLAB"):
            read_boundaries(whole)
    whole.write_bytes(content[:300] + bytes(byte ^ 255 for byte in content[300:340]) + content[340:])
    with pytest.raises(ValueError, match="cannot be read"):
        read_boundaries(whole)


def test_other_versions_are_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"groundTruth": np.eye(3)}, format="4")
    with pytest.raises(ValueError, match="version 5"):
        read_boundaries(tmp_path / "a.mat")


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab_file, "_MOST_UNPACKED", 2**22)
    savemat(tmp_path / "a.mat", {"groundTruth": np.eye(3)})
    header = (tmp_path / "a.mat").read_bytes()[:128]
    packed = zlib.compress(bytes(2**23), 9)
    (tmp_path / "a.mat").write_bytes(header + np.array([15, len(packed)], "<u4").tobytes() + packed)
    assert len(packed) < 2**14
    with pytest.raises(ValueError, match="unpacks to more than 4,194,304 bytes"):
        read_boundaries(tmp_path / "a.mat")


def test_a_huge_file_is_not_read(tmp_path):
    with open(tmp_path / "a.mat", "wb") as file:
        file.truncate(2**26)
    with pytest.raises(ValueError, match="67,108,864 bytes, more than"):
        read_boundaries(tmp_path / "a.mat")
