"""The paper's data sets by name, and how the command line's words become data sets."""

from dataclasses import replace

import numpy as np
import pytest
from dataset_files import (
    SIZE,
    coco_content,
    label_map,
    masks_of,
    panoptic_rgb,
    random_masks,
    write_json,
    write_photo,
    write_png,
)

from samjax.core.errors import UserError
from samjax.data.annotations import open_dataset as opening
from samjax.data.annotations.dataset_entries import _ENTRIES, ENTRIES
from samjax.data.annotations.formats import Format, FormatOptions
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.open_dataset import open_dataset
from samjax.data.annotations.subset import ENOUGH, MOST, sample


def test_the_table_is_whole():
    assert len(_ENTRIES) == len(ENTRIES) == 23
    assert sum(entry.masks for entry in _ENTRIES) == 172_653
    assert sum(entry.photos for entry in _ENTRIES) == 40_188
    for entry in _ENTRIES:
        assert entry.masks <= MOST
        assert entry.url.startswith(("https://", "http://"))
        assert all((entry.key, entry.title, entry.split, entry.root, entry.parts))
        assert all(part.annotations and (part.photos or part.format is Format.INSTANCE_PNGS) for part in entry.parts)


def lay_out(root, part, *, number):
    """One photo with two masks as `part` has them, or one if it takes all for one; in every folder of the same name."""
    place, photos, options = root / part.annotations, root / part.photos, part.options
    stem = f"{(*options.photos_from, '')[0]}{number}"
    photo = photos / f"{stem}{options.photo_suffix or '.jpg'}"
    masks = random_masks(2)
    match part.format:
        case Format.COCO:
            write_photo(photo)
            write_json(place, coco_content({photo.name: masks}))
        case Format.LABEL_MAPS:
            write_photo(photo)
            write_png(place / f"{stem}{options.map_suffix}", label_map((3, 9)))
        case Format.INSTANCE_PNGS:
            folder = place / f"{number}" / ("" if part.photos else "masks")
            write_photo(photo if part.photos else place / f"{number}/images/{number}.png")
            for turn, mask in enumerate(masks):
                write_png(folder / f"{(*options.masks_from, '')[0]}{turn}.png", mask)
        case Format.PANOPTIC:
            write_photo(photo)
            write_png(place.with_suffix("") / "x.png", panoptic_rgb(label_map((3, 9)).astype(np.int64)))
            image = {"id": stem, "file_name": "x", "height": SIZE[0], "width": SIZE[1]}
            said = [{"id": 3, "category_id": 1}, {"id": 9, "category_id": 1}]
            annotation = {"image_id": stem, "file_name": "x.png", "segments_info": said}
            write_json(place, {"images": [image], "annotations": [annotation], "categories": [{"id": 1}]})


@pytest.mark.parametrize("key", ENTRIES)
def test_a_copy_laid_out_as_the_entry_says_opens(tmp_path, key):
    entry = ENTRIES[key]
    for place, part in enumerate(entry.parts):
        lay_out(tmp_path, part, number=[one.photos for one in entry.parts[:place]].count(part.photos))
    opened = open_dataset(f"{key}={tmp_path}")
    dataset, parts = opened.dataset, len(entry.parts)
    assert dataset.name == key
    assert [photo.id for photo in dataset.photos] == list(range(1, parts + 1))
    ids = [one.id for photo in dataset.photos for one in photo.instances]
    assert ids == list(range(1, len(ids) + 1))
    assert len(ids) >= parts
    assert len({photo.name for photo in dataset.photos}) == parts
    assert all(photo.read().shape == (*SIZE, 3) for photo in dataset.photos)
    (note,) = opened.notes
    assert note == f"{key}: {parts} photos and {len(ids)} masks here, {entry.photos:,} and {entry.masks:,} in the paper"


def test_the_paper_s_own_counts_need_no_note(large):
    path, images = large
    dataset = open_dataset(str(path), images=images).dataset
    assert replace(ENTRIES["lvis"], photos=4, masks=16).difference(dataset) is None
    assert replace(ENTRIES["lvis"], photos=4, masks=15).difference(dataset)


@pytest.mark.parametrize("key", ENTRIES)
def test_a_root_that_is_another_folder_is_told_what_it_must_be(tmp_path, key):
    with pytest.raises(UserError) as caught:
        open_dataset(f"{key}={tmp_path}")
    message, entry = str(caught.value), ENTRIES[key]
    assert all(text in message for text in (key, str(tmp_path), entry.root, entry.bring, entry.url))
    assert "\n" not in message


def test_a_named_data_set_may_come_as_one_json(tmp_path):
    write_photo(tmp_path / "photos/a.jpg")
    path = write_json(tmp_path / "all.json", coco_content({"a.jpg": random_masks(4)}))
    opened = open_dataset(f"ibd={path}", images=ImageFolder(tmp_path / "photos"), format="sa1b")
    assert opened.notes == ["ibd: 1 photos and 4 masks here, 467 and 11,953 in the paper"]


def test_photos_of_a_named_data_set_may_be_elsewhere(tmp_path):
    write_photo(tmp_path / "elsewhere/a.jpg")
    write_json(tmp_path / "lvis/lvis_v0.5_val.json", coco_content({"a.jpg": random_masks(1)}))
    with pytest.raises(UserError, match="val2017 is not a folder"):
        open_dataset(f"lvis={tmp_path / 'lvis'}")
    images = ImageFolder(tmp_path / "elsewhere")
    assert len(open_dataset(f"lvis={tmp_path / 'lvis'}", images=images).dataset.photos) == 1


@pytest.fixture
def large(tmp_path):
    """Four photos with four masks each."""
    for name in "abcd":
        write_photo(tmp_path / f"photos/{name}.jpg")
    said = coco_content({f"{name}.jpg": random_masks(4) for name in "abcd"})
    return write_json(tmp_path / "large.json", said), ImageFolder(tmp_path / "photos")


def test_named_data_sets_are_cut_as_the_paper_does_and_others_are_not(large, monkeypatch):
    path, images = large
    monkeypatch.setattr(opening, "sample", lambda *those, **given: sample(*those, **{"most": 15, "enough": 6, **given}))
    opened = open_dataset(f"visor={path}", images=images)
    assert opened.dataset.masks == 8
    assert opened.notes[0] == "visor: 2 photos with 8 masks drawn of 4 photos with 16 masks"
    assert open_dataset(f"mine={path}", images=images).dataset.masks == 16
    assert open_dataset(f"visor={path}", images=images, most_masks=100).dataset.masks == 16
    cut = open_dataset(str(path), images=images, most_masks=3)
    assert (cut.dataset.name, cut.dataset.masks) == ("large", 4)
    assert cut.notes == ["large: 1 photos with 4 masks drawn of 4 photos with 16 masks"]
    assert (MOST, ENOUGH) == (15_000, 10_000)


def test_what_cannot_be_prompted_is_left_out_and_counted(tmp_path):
    for name in "abc":
        write_photo(tmp_path / f"{name}.jpg")
    empty = np.zeros(SIZE, bool)
    said = coco_content({"a.jpg": [*random_masks(2), empty], "b.jpg": [empty], "c.jpg": random_masks(1)})
    said["annotations"][-1]["iscrowd"] = 1
    path = write_json(tmp_path / "x.json", said)
    dataset = open_dataset(str(path), images=ImageFolder(tmp_path)).dataset
    np.testing.assert_array_equal(masks_of(dataset.photos[0]), random_masks(2))
    assert len(dataset.photos) == 1
    assert dataset.left_out == {"masks without a pixel": 2, "photos without a mask to prompt": 2}
    said["annotations"] = said["annotations"][-1:]
    with pytest.raises(UserError, match="x has no photo with a mask"):
        open_dataset(str(write_json(path, said)), images=ImageFolder(tmp_path), allow_missing=True)


def test_formats_are_told_apart_where_there_is_no_doubt(large, prepared, tmp_path):
    path, images = large
    assert len(open_dataset(str(path), images=images).dataset.photos) == 4
    val = open_dataset(f"a=b={prepared / 'val'}".removeprefix("a=")).dataset
    assert (val.name, len(val.photos)) == ("b", 53)
    assert len(open_dataset("mine=tars", prepare=lambda path: str(prepared / "val")).dataset.photos) == 53
    formats = "coco, sa1b, label-maps, panoptic, instance-pngs"
    with pytest.raises(UserError, match=f"may be of several formats: give --format, one of {formats}"):
        open_dataset(str(tmp_path))
    with pytest.raises(UserError, match=f"no format is called 'voc': it must be one of {formats}"):
        open_dataset(str(path), format="voc")


def test_formats_that_are_asked_for(tmp_path):
    write_photo(tmp_path / "photos/a.jpg")
    write_png(tmp_path / "maps/a.png", label_map((1, 2, 255)))
    images = ImageFolder(tmp_path / "photos")
    opened = open_dataset(
        f"mine={tmp_path / 'maps'}", format="label-maps", images=images, options=FormatOptions(ignore=255)
    )
    assert (opened.dataset.masks, opened.notes) == (2, [])
    with pytest.raises(UserError, match="maps holds no photos: give their folder with --images"):
        open_dataset(f"mine={tmp_path / 'maps'}", format="label-maps")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lviss=x.json", "no data set is called 'lviss': did you mean lvis"),
        ("ADE20K=x", "did you mean ade20k"),
        ("=x", "must be PATH or NAME=PATH"),
        ("x=", "must be PATH or NAME=PATH"),
        ("none", "none: no such file or folder"),
        ("mine=none.json", "none.json: no such file"),
    ],
)
def test_what_names_nothing_is_refused(spec, says):
    with pytest.raises(UserError, match=says):
        open_dataset(spec)


def test_a_name_that_looks_alike_is_free_with_a_format(large):
    path, images = large
    assert open_dataset(f"lviss={path}", format="coco", images=images).dataset.name == "lviss"
