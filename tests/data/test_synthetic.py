import hashlib
import io
import pickle
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from streams import mask_stream, mask_validation

from data_pipelines import sa1b
from data_pipelines.synthetic import write_tars
from samjax.core.errors import UserError
from samjax.data.masks import rle
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.data.records import masks as records
from samjax.data.stream.sources import is_sa1b_layout, open_source
from samjax.data.synthetic.drawing import draw_photo
from samjax.data.synthetic.scene import Region, _measure
from samjax.data.synthetic.source import SyntheticConfig, SyntheticSource, draw_record, parse_synthetic

SMALL = "synthetic:photos=6,size=64x96,masks=12,seed=3"


def masks_of(record):
    """Every mask of a record, as pycocotools reads it."""
    coded = [{"size": [record.height, record.width], "counts": item.counts} for item in record.annotations]
    with warnings.catch_warnings():  # pycocotools does not know NumPy 2's copy argument
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.moveaxis(coco.decode(coded), -1, 0).astype(bool)


@pytest.fixture(scope="module")
def sample():
    """Photos at SA-1B's masks and a quarter of its side, as drawn: with who is a part of whom."""
    return [draw_photo(np.random.default_rng([7, number]), size=(375, 562), masks=100) for number in range(30)]


def decoded(photo):
    height, width = photo.image.height, photo.image.width
    inside = [np.repeat(np.arange(len(mask.runs)) % 2 == 1, mask.runs) for mask in photo.masks]
    return np.stack(inside).reshape(-1, width, height).transpose(0, 2, 1)


def test_another_process_in_another_order_draws_the_same_records():
    """No record depends on what was drawn before it. (Protobuf may write the fields of equal records in any order.)"""
    source = open_source(SMALL, "train")
    here = [hashlib.sha256(repr(records.decode_record(source[index])).encode()).hexdigest() for index in range(6)]
    program = (
        "import hashlib\n"
        "from samjax.data.records import masks as records\n"
        "from samjax.data.stream import sources\n"
        f"source = sources.open_source({SMALL!r}, 'train')\n"
        "for index in (4, 1):\n"
        "    print(hashlib.sha256(repr(records.decode_record(source[index])).encode()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert there.stdout.split() == [here[4], here[1]]
    assert len(set(here)) == 6


def test_a_record_does_not_depend_on_how_many_there_are_or_are_kept():
    small, large = SyntheticConfig(photos=2, size=48, keep=0), SyntheticConfig(photos=9, size=48)
    assert SyntheticSource(small, split="train")[1] == SyntheticSource(large, split="train+val")[1]
    assert SyntheticSource(small, split="val")[1] == SyntheticSource(large, split="train+val")[10]
    other = SyntheticConfig(photos=9, size=48, seed=1)
    assert SyntheticSource(other, split="train")[1] != SyntheticSource(large, split="train")[1]


def test_the_first_photos_are_kept_and_the_others_drawn_again():
    source = SyntheticSource(SyntheticConfig(photos=3, size=48, masks=5, keep=2), split="train")
    assert source[1] is source[1]
    assert source[2] is not source[2]
    assert source[2] == source[2]
    carried = pickle.dumps(source)
    assert len(carried) < 2_000, "kept photos travel to every worker process"
    assert pickle.loads(carried)[1] == source[1]
    with pytest.raises(IndexError):
        source[3]


def test_no_photo_is_in_both_splits():
    train, val = (
        {records.decode_record(source[index]).image_id for index in range(6)}
        for source in (open_source(SMALL, "train"), open_source(SMALL, "val"))
    )
    assert len(train) == len(val) == 6
    assert not train & val


def test_parts_lie_inside_their_wholes_three_levels_deep(sample):
    deepest = 0
    for photo in sample[:12]:
        masks, parents = decoded(photo), [mask.parent for mask in photo.masks]
        level: list[int] = []
        for index, parent in enumerate(parents):
            level.append(1 if parent is None else 1 + level[parent])
            if parent is not None:
                assert not (masks[index] & ~masks[parent]).any()
                assert masks[index].sum() < 0.9 * masks[parent].sum()
        for parent in {None, *parents}:
            siblings = masks[[index for index, other in enumerate(parents) if other == parent]]
            assert siblings.sum(axis=0).max() <= 1, "of two siblings the one in front owns the pixels"
        wholes = masks[[index for index, parent in enumerate(parents) if parent is None]]
        assert wholes.any(axis=0).mean() > 0.999, "every pixel belongs to something"
        deepest = max(deepest, *level)
    assert deepest == 3


def test_sizes_of_masks_spread_as_in_sa1b(sample):
    counts = np.array([len(photo.masks) for photo in sample])
    assert 85 <= counts.mean() <= 115
    areas = [np.array([mask.area for mask in photo.masks]) / (375 * 562) for photo in sample]
    every = np.concatenate(areas)
    assert 0.3 <= np.mean(every < 1e-3) <= 0.7, "about half of the masks cover less than 0.1% of the photo"
    assert np.mean(every < 0.01) >= 0.7, "most are small"
    assert 0.3 <= np.mean([largest > 0.3 for largest in map(np.max, areas)]) <= 0.9, "many photos have a large one"
    tenth, ninetieth = np.percentile(np.log10(every), [10, 90])
    assert ninetieth - tenth > 1.7, "log-wide"


def test_masks_a_photo_vary_around_the_mean():
    config = SyntheticConfig(size=(96, 128), masks=20)
    counts = [len(draw_record(config, number).annotations) for number in range(60)]
    assert 17 <= np.mean(counts) <= 23
    assert np.std(counts) > 5
    assert min(counts) >= 1


def test_masks_end_where_colours_change(sample):
    """So that there is something to learn: inside differs from outside along a border."""
    steps = []
    for photo in sample[:5]:
        image = np.asarray(photo.image).astype(float)
        for mask in decoded(photo):
            padded = np.pad(mask, 2)
            around = [padded[y : y + mask.shape[0], x : x + mask.shape[1]] for y in (0, 2, 4) for x in (0, 2, 4)]
            grown, shrunk = np.any(around, axis=0), np.all(around, axis=0)
            outside, inside = grown & ~mask, mask & ~shrunk
            steps.append(np.linalg.norm(image[outside].mean(axis=0) - image[inside].mean(axis=0)))
    assert np.median(steps) > 50, "grey levels, over three channels"
    assert np.mean(np.array(steps) > 12) > 0.95


@pytest.mark.parametrize("size", [(64, 96), (97, 33), (32, 32), (40, 700)])
def test_annotations_are_what_pycocotools_makes_of_the_masks(size):
    record = draw_record(SyntheticConfig(size=size, masks=40), 5)
    with Image.open(io.BytesIO(record.jpeg)) as photo:
        assert photo.size == (size[1], size[0])
    assert record.annotations
    for mask, item in zip(masks_of(record), record.annotations, strict=True):
        assert rle.encode(mask)["counts"] == item.counts
        assert item.area == mask.sum() >= 12
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.array([rows[0], columns[0], rows[-1], columns[-1]]) / [*size, *size]
        np.testing.assert_allclose(item.bbox, box)
        assert mask[int(item.point[1]), int(item.point[0])]
        assert 0.88 <= item.predicted_iou <= 1
        assert 0.95 <= item.stability_score <= 1


def test_run_lengths_are_those_of_the_whole_photo():
    """Also of what reaches from the foot of one column to the head of the next, and to the photo's last pixel."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = rng.integers(1, 7, 2)
        y, x = (int(rng.integers(side)) for side in size)
        mask = rng.random((rng.integers(1, size[0] - y + 1), rng.integers(1, size[1] - x + 1))) < rng.choice([0.5, 1])
        if not mask.any():
            continue
        shown = _measure(Region(y=y, x=x, mask=mask), size=(int(size[0]), int(size[1])), parent=None)
        photo = np.zeros(size, bool)
        photo[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        expected = rle.parse_runs(rle.encode(photo)["counts"], height=int(size[0]), width=int(size[1]))
        assert shown.runs.tolist() == expected.tolist()
        assert shown.area == photo.sum()
        assert photo[shown.point[1], shown.point[0]]


def test_a_shortest_side_comes_in_cameras_formats():
    config = SyntheticConfig(size=60, masks=3)
    sizes = [(item.height, item.width) for item in (draw_record(config, number) for number in range(30))]
    assert {min(size) for size in sizes} == {60}
    assert len(set(sizes)) > 4
    assert any(height > width for height, width in sizes)


def test_batches_equal_those_of_the_same_records_in_files(write_dataset):
    """The stream reads synthetic records as it reads any."""
    source = open_source(SMALL, "train")
    folder = write_dataset([source[index] for index in range(len(source))])
    pairs = []
    for path in (SMALL, str(folder)):
        config = MaskDataConfig(source=path, max_masks=5)
        stream = mask_stream(config, image_size=(64, 64), batch_size=4, seed=2)
        drawn = [jax.device_get(next(stream)) for _ in range(3)]  # two epochs
        stream.close()
        pairs.append(drawn + list(mask_validation(config, image_size=(64, 64), batch_size=4)))
    for ours, theirs in zip(*pairs, strict=True):
        assert ours.mask_valid.sum() >= 10
        for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_photos_written_as_tars_are_prepared_unchanged(tmp_path):
    source = open_source(SMALL, "val")
    tars = write_tars(source, tmp_path / "tars", photos_per_tar=4)
    assert [tar.name for tar in tars] == ["sa_000000.tar", "sa_000001.tar"]
    sa1b.prepare(str(tmp_path / "tars"), tmp_path / "records", split="val")
    prepared = open_source(str(tmp_path / "records"), "val")
    again = sorted((records.decode_record(prepared[index]) for index in range(6)), key=lambda record: record.image_id)
    for record, index in zip(again, range(6), strict=True):
        drawn = records.decode_record(source[index])
        assert record.jpeg == drawn.jpeg
        assert masks_of(record).tolist() == masks_of(drawn).tolist()
        np.testing.assert_allclose(
            [item.bbox for item in record.annotations], [item.bbox for item in drawn.annotations], atol=1e-4
        )
    with pytest.raises(UserError, match="exists already"):
        write_tars(source, tmp_path / "tars", photos_per_tar=4)


def test_a_name_says_everything_and_is_read_back():
    config = parse_synthetic("synthetic:size=150x225,photos=7,keep=3,seed=9,masks=11")
    assert config == SyntheticConfig(photos=7, size=(150, 225), masks=11, seed=9, keep=3)
    assert parse_synthetic(str(config)) == config
    assert parse_synthetic("synthetic:") == SyntheticConfig()
    assert not is_sa1b_layout("synthetic:")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ("photo=3", "did you mean photos"),
        ("colour=red", "there are photos, size, masks, seed, keep"),
        ("photos=many", "photos is 'many': give a number"),
        ("photos=-1", "give a number"),
        ("photos", "photos is ''"),
        ("photos=0", "it must be between 1 and"),
        ("masks=0", "it must be between 1 and"),
        ("size=64x", "HEIGHTxWIDTH"),
        ("size=10x10", "sides of 32"),
        ("size=99999x99999", "sides of 32"),
        ("size=60000x60000", "pixels in all"),
        ("size=20000", "pixels in all"),
        ("seed=4294967296", "it must be between 0 and"),
        ("photos=3,photos=4", "given twice"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused_in_one_sentence(parameters, says):
    with pytest.raises(UserError, match=says) as caught:
        open_source(f"synthetic:{parameters}", "train")
    assert "\n" not in str(caught.value)


def test_an_unknown_split_names_those_there_are():
    with pytest.raises(UserError, match="no split 'test': it has train, val"):
        open_source("synthetic:", "train+test")


def test_tfds_is_imported_where_a_source_is_opened():
    """While it is imported `__import__` is another's: in a thread of the stream, JAX's own imports would be lazy."""
    program = (
        "import sys\n"
        "from samjax.data.stream.sources import open_source\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "open_source('synthetic:photos=1', 'train')\n"
        "assert 'tensorflow_datasets' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
