"""Label maps, panoptic PNGs and PNGs an object."""

import struct
import time
import zlib

import numpy as np
import pytest
from dataset_files import (
    SIZE,
    label_map,
    masks_of,
    panoptic_rgb,
    random_masks,
    read_every_photo,
    write_json,
    write_photo,
    write_png,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from samjax.core.errors import UserError
from samjax.data.annotations.formats import FormatOptions, Objects
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.instance_pngs import open_instance_pngs
from samjax.data.annotations.label_maps import open_label_maps
from samjax.data.annotations.panoptic import open_panoptic
from samjax.data.annotations.pngs import segments
from samjax.data.masks import rle

DEFAULT = FormatOptions()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_segments_are_the_pixels_of_each_value(height, width, seed):
    values = np.random.default_rng(seed).integers(0, 4, (height, width)).astype(np.int32)
    found = segments(values, without={2})
    assert [one.value for one in found] == sorted(set(values.ravel().tolist()) - {2})
    for one in found:
        assert one.segmentation == rle.encode(values == one.value)


def test_a_map_of_hundreds_of_objects_costs_no_pass_an_object():
    rows, columns = np.mgrid[:1024, :2048]
    values = (1 + rows // 64 + 16 * (columns // 128)).astype(np.int32)
    segments(values, without={0})
    begun = time.perf_counter()
    assert len(segments(values, without={0})) == 256
    assert time.perf_counter() - begun < 0.5  # 0.04 s; a pass an object takes 0.7


def bomb(path, *, side=8_200):
    """A PNG of a hundred bytes whose header says side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )


def maps(folder, options=DEFAULT, *, allow_missing=False):
    images = ImageFolder(folder / "photos")
    opened = open_label_maps(folder / "maps", images=images, name="made", options=options)
    return opened.read(allow_missing=allow_missing).dataset


@pytest.mark.parametrize(
    ("dtype", "mode", "values"),
    [(np.uint8, None, (1, 255)), (np.uint16, None, (1, 300, 65_535)), (np.uint8, "P", (3, 4))],
)
def test_label_maps_come_back_as_they_were_written(tmp_path, dtype, mode, values):
    drawn = {name: label_map(values, dtype=dtype, seed=seed) for seed, name in enumerate(("b", "a/c"))}
    for name, one in drawn.items():
        expected = write_photo(tmp_path / f"photos/{name}.jpg")
        write_png(tmp_path / f"maps/{name}.png", one, mode=mode)
    dataset = maps(tmp_path)
    assert [photo.name for photo in dataset.photos] == ["a/c.jpg", "b.jpg"]
    assert [one.id for photo in dataset.photos for one in photo.instances] == list(range(1, 2 * len(values) + 1))
    np.testing.assert_array_equal(masks_of(dataset.photos[0]), [drawn["a/c"] == value for value in values])
    assert dataset.photos[0].read().shape == expected.shape


def test_pixels_of_no_object_are_none(tmp_path):
    write_photo(tmp_path / "photos/a.jpg")
    drawn = label_map((7, 9, 255))
    write_png(tmp_path / "maps/a.png", drawn)
    (photo,) = maps(tmp_path, FormatOptions(background=7, ignore=255)).photos
    np.testing.assert_array_equal(masks_of(photo), [drawn == 0, drawn == 9])


def test_classes_and_numbers_of_cityscapes(tmp_path):
    """A class without a number is a region, as 26 for a group of cars."""
    write_photo(tmp_path / "photos/x_leftImg8bit.png")
    drawn = label_map((7, 26, 24_000, 26_001), dtype=np.uint16)
    write_png(tmp_path / "maps/x_instanceIds.png", drawn)
    options = FormatOptions(class_base=1000, photo_suffix="_leftImg8bit.png", map_suffix="_instanceIds.png")
    dataset = maps(tmp_path, options)
    np.testing.assert_array_equal(masks_of(dataset.photos[0]), [drawn == 24_000, drawn == 26_001])
    assert [one.category for one in dataset.photos[0].instances] == [24, 26]
    assert dataset.categories == {24: "24", 26: "26"}


def test_an_object_may_be_what_touches_or_all_there_is(tmp_path):
    write_photo(tmp_path / "photos/a.jpg")
    drawn = np.zeros(SIZE, np.uint8)
    drawn[2:5, 2:5], drawn[5, 5], drawn[10:12, 20:30] = 255, 9, 255
    write_png(tmp_path / "maps/a.png", drawn)
    (photo,) = maps(tmp_path, FormatOptions(objects=Objects.CONNECTED)).photos
    left = (drawn > 0) & (np.arange(SIZE[1]) < 15)
    np.testing.assert_array_equal(masks_of(photo), [left, (drawn > 0) & ~left])
    (photo,) = maps(tmp_path, FormatOptions(objects=Objects.WHOLE)).photos
    np.testing.assert_array_equal(masks_of(photo), [drawn > 0])


def test_photos_and_maps_may_share_a_folder(tmp_path):
    for number in range(2):
        write_photo(tmp_path / f"x/p{number}_rgb.png")
        write_png(tmp_path / f"x/p{number}_label.png", label_map((1,)))
        write_png(tmp_path / f"x/p{number}_fg.png", label_map((1,)))
    options = FormatOptions(photo_suffix="_rgb.png", map_suffix="_label.png")
    images = ImageFolder(tmp_path / "x")
    dataset = open_label_maps(tmp_path / "x", images=images, name="x", options=options).read().dataset
    assert [photo.name for photo in dataset.photos] == ["p0_rgb.png", "p1_rgb.png"]


def test_a_map_beside_its_photo_is_no_photo(tmp_path):
    write_photo(tmp_path / "p.jpg")
    write_png(tmp_path / "p_seg.png", label_map((1,)))
    images = ImageFolder(tmp_path / "../" / tmp_path.name)
    options = FormatOptions(map_suffix="_seg.png")
    dataset = open_label_maps(tmp_path, images=images, name="x", options=options).read().dataset
    assert [photo.name for photo in dataset.photos] == ["p.jpg"]


def test_photos_of_a_part_of_the_folder(tmp_path):
    for name in ("ego4d_1", "thu_1", "epick_1"):
        write_photo(tmp_path / f"photos/{name}.jpg")
        write_png(tmp_path / f"maps/{name}.png", label_map((1,)))
    dataset = maps(tmp_path, FormatOptions(photos_from=("ego4d", "thu")))
    assert [photo.name for photo in dataset.photos] == ["ego4d_1.jpg", "thu_1.jpg"]


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


def noise(size):
    return np.random.default_rng(0).integers(1, 256, size, np.uint8)


BROKEN_MAPS = {
    "label maps without a photo": lambda folder: (folder / "photos/a.jpg").unlink(),
    "photos without label maps": lambda folder: write_photo(folder / "photos/x.jpg"),
    "photos of the same name": lambda folder: write_photo(folder / "photos/a.png"),
    "label maps of another size than their photo": lambda folder: write_png(folder / "maps/a.png", noise((24, 31))),
    "label maps without an object": lambda folder: write_png(folder / "maps/a.png", np.zeros(SIZE, np.uint8)),
    r"label maps that cannot be used \(a.png: it is RGB": lambda folder: write_photo(folder / "maps/a.png"),
    r"label maps that cannot be used \(a.png: it cannot be read": lambda folder: cut(folder / "maps/a.png"),
    r"label maps that cannot be used \(a.png: its size 8200 x 8200 is not": lambda folder: bomb(folder / "maps/a.png"),
    r"photos that cannot be read": lambda folder: cut(folder / "photos/a.jpg"),
}


@pytest.mark.parametrize("kind", BROKEN_MAPS)
def test_maps_that_do_not_fit_are_refused_and_counted_where_allowed(tmp_path, kind):
    for name in "abc":
        write_photo(tmp_path / f"photos/{name}.jpg")
        write_png(tmp_path / f"maps/{name}.png", noise(SIZE))
    BROKEN_MAPS[kind](tmp_path)
    with pytest.raises(UserError, match=f"maps has 1 {kind}") as caught:
        maps(tmp_path)
    assert "\n" not in str(caught.value)
    dataset = maps(tmp_path, allow_missing=True)
    assert dataset.left_out == {kind.partition(" \\(")[0]: 1}
    read_every_photo(dataset)


def test_a_folder_without_maps_is_refused(tmp_path):
    write_photo(tmp_path / "photos/a.jpg")
    with pytest.raises(UserError, match="maps is not a folder"):
        maps(tmp_path)
    (tmp_path / "maps").mkdir()
    with pytest.raises(UserError, match="holds no label map"):
        maps(tmp_path)


# Panoptic


THINGS = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}]


def write_panoptic(folder, *, ids=(7, 3)):
    """Two photos with three segments each: a cat, a crowd of cats and sky, and pixels of none."""
    values = np.zeros(SIZE, np.int64)
    values[:4], values[4:9], values[9:20] = 5, 300, 70_000
    said = {"images": [], "annotations": [], "categories": THINGS}
    for number in ids:
        write_photo(folder / f"photos/{number}.jpg")
        write_png(folder / f"panoptic/{number}.png", panoptic_rgb(values))
        said["images"].append({"id": number, "file_name": f"{number}.jpg", "height": SIZE[0], "width": SIZE[1]})
        segments_info = [
            {"id": 5, "category_id": 1, "iscrowd": 0},
            {"id": 300, "category_id": 1, "iscrowd": 1},
            {"id": 70_000, "category_id": 2},
        ]
        annotation = {"image_id": number, "file_name": f"{number}.png", "segments_info": segments_info}
        said["annotations"].append(annotation)
    return said, values


def panoptic(folder, said, options=DEFAULT, *, allow_missing=False):
    path, images = write_json(folder / "panoptic.json", said), ImageFolder(folder / "photos")
    opened = open_panoptic(path, images=images, name="made", options=options)
    return opened.read(allow_missing=allow_missing).dataset


def test_panoptic_segments_come_back_as_they_were_written(tmp_path):
    said, values = write_panoptic(tmp_path)
    dataset = panoptic(tmp_path, said)
    assert [photo.id for photo in dataset.photos] == [3, 7]
    assert [one.id for photo in dataset.photos for one in photo.instances] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(masks_of(dataset.photos[0]), [values == 5, values == 300, values == 70_000])
    assert [(one.category, one.crowd) for one in dataset.photos[0].instances] == [(1, False), (1, True), (2, False)]
    assert dataset.categories == {1: "cat", 2: "sky"}
    things = panoptic(tmp_path, said, FormatOptions(things_only=True))
    assert [one.category for one in things.photos[0].instances] == [1, 1]


def test_images_of_cityscapes_have_names_for_ids(tmp_path):
    said, _ = write_panoptic(tmp_path, ids=("b", "a"))
    for number in "ab":
        (tmp_path / f"photos/{number}.jpg").rename(tmp_path / f"photos/{number}_leftImg8bit.png")
    dataset = panoptic(tmp_path, said, FormatOptions(photo_suffix="_leftImg8bit.png"))
    assert [(photo.id, photo.name) for photo in dataset.photos] == [(1, "a_leftImg8bit.png"), (2, "b_leftImg8bit.png")]


BROKEN_PANOPTIC = {
    "images whose photo is missing": lambda folder, said: (folder / "photos/7.jpg").unlink(),
    "photos of another size than the file says": lambda folder, said: write_photo(folder / "photos/7.jpg", size=(9, 9)),
    "images without annotations": lambda folder, said: said["annotations"].pop(0),
    "images with several annotations": lambda folder, said: said["annotations"].append(said["annotations"][0]),
    "images whose id is given twice": lambda folder, said: said["images"].append(said["images"][0]),
    "annotations of images that are not in the file": lambda folder, said: said["annotations"].append(
        {**said["annotations"][0], "image_id": [8]}
    ),
    r"PNGs that cannot be used \(7.png: there is no such file": lambda folder, said: (
        folder / "panoptic/7.png"
    ).unlink(),
    r"PNGs that cannot be used \(7.png: it is L, not RGB": lambda folder, said: write_png(
        folder / "panoptic/7.png", noise(SIZE)
    ),
    "PNGs of another size than their photo": lambda folder, said: write_png(
        folder / "panoptic/7.png", panoptic_rgb(np.full((9, 9), 5))
    ),
    r"segments that the file does not have \(7.png: 5\)": lambda folder, said: said["annotations"][0][
        "segments_info"
    ].pop(0),
    r"segments without a pixel \(7.png: 6\)": lambda folder, said: said["annotations"][0]["segments_info"].append(
        {"id": 6, "category_id": 1}
    ),
    "segments of unknown categories": lambda folder, said: said["annotations"][0]["segments_info"][0].update(
        category_id=None
    ),
}


@pytest.mark.parametrize("kind", BROKEN_PANOPTIC)
def test_panoptic_that_does_not_fit_is_refused_and_counted_where_allowed(tmp_path, kind):
    said, _ = write_panoptic(tmp_path)
    BROKEN_PANOPTIC[kind](tmp_path, said)
    with pytest.raises(UserError, match=f"panoptic.json has 1 {kind}"):
        panoptic(tmp_path, said)
    dataset = panoptic(tmp_path, said, allow_missing=True)
    assert dataset.left_out == {kind.partition(" \\(")[0]: 1}
    read_every_photo(dataset)


def test_a_panoptic_png_cannot_lie_outside_the_folder(tmp_path):
    said, values = write_panoptic(tmp_path)
    write_png(tmp_path / "secret.png", panoptic_rgb(values))
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        said["annotations"][0]["file_name"] = name
        with pytest.raises(UserError, match="1 annotations whose PNG would lie outside the folder"):
            panoptic(tmp_path, said)
        assert len(panoptic(tmp_path, said, allow_missing=True).photos) == 1


def test_instances_are_told_from_panoptic(tmp_path):
    said, _ = write_panoptic(tmp_path)
    del said["annotations"][0]["segments_info"]
    with pytest.raises(UserError, match="no list segments_info"):
        panoptic(tmp_path, said)


# A PNG an object


def write_bbbc(folder):
    """As BBBC038, the first photo's masks of several kinds of PNG."""
    masks = random_masks(3)
    write_photo(folder / "p/images/p.png")
    grey = masks.astype(np.uint8) * 255
    write_png(folder / "p/masks/0.png", grey[0])
    write_png(folder / "p/masks/1.png", np.repeat(grey[1][..., None], 3, axis=-1))
    opaque = np.full(SIZE, 255, np.uint8)
    write_png(folder / "p/masks/2.png", np.dstack([grey[2], grey[2], grey[2], opaque]))
    write_photo(folder / "q/images/q.png")
    write_png(folder / "q/masks/x.png", masks[0])
    return masks


def pngs(folder, *, images=None, options=DEFAULT, allow_missing=False):
    opened = open_instance_pngs(folder, images=images, name="made", options=options)
    return opened.read(allow_missing=allow_missing).dataset


def test_masks_of_a_file_each_come_back_as_they_were_written(tmp_path):
    masks = write_bbbc(tmp_path)
    dataset = pngs(tmp_path)
    assert [photo.name for photo in dataset.photos] == ["p/images/p.png", "q/images/q.png"]
    assert [one.id for photo in dataset.photos for one in photo.instances] == [1, 2, 3, 4]
    np.testing.assert_array_equal(masks_of(dataset.photos[0]), masks)


def test_masks_may_lie_beside_photos_in_a_folder_of_their_name(tmp_path):
    """As in ADE20K, where other PNGs lie about."""
    mask = random_masks(1)[0]
    write_photo(tmp_path / "street/p.jpg")
    write_png(tmp_path / "street/p_seg.png", mask)
    write_png(tmp_path / "street/p/instance_000_p.png", mask)
    write_png(tmp_path / "street/p/other.png", mask)
    options = FormatOptions(photo_suffix=".jpg", masks_from=("instance_",))
    (photo,) = pngs(tmp_path, images=ImageFolder(tmp_path), options=options).photos
    np.testing.assert_array_equal(masks_of(photo), [mask])


BROKEN_MASKS = {
    "folders of masks without a photo": lambda folder: (folder / "p/images/p.png").unlink(),
    "photos without folders of masks": lambda folder: write_photo(folder / "r/images/r.png"),
    "photos of the same name": lambda folder: write_photo(folder / "p/images/z.png"),
    "masks of another size than their photo": lambda folder: write_png(folder / "p/masks/0.png", noise((9, 9))),
    "masks without a pixel": lambda folder: write_png(folder / "p/masks/0.png", np.zeros(SIZE, np.uint8)),
    "masks that cannot be used": lambda folder: bomb(folder / "p/masks/0.png"),
}


@pytest.mark.parametrize("kind", BROKEN_MASKS)
def test_masks_that_do_not_fit_are_refused_and_counted_where_allowed(tmp_path, kind):
    write_bbbc(tmp_path)
    BROKEN_MASKS[kind](tmp_path)
    with pytest.raises(UserError, match=f"has 1 {kind}"):
        pngs(tmp_path)
    dataset = pngs(tmp_path, allow_missing=True)
    assert dataset.left_out == {kind: 1}
    read_every_photo(dataset)


def test_a_photo_with_no_mask_left_is_left_out(tmp_path):
    write_bbbc(tmp_path)
    cut(tmp_path / "q/masks/x.png")
    with pytest.raises(UserError, match=r"1 masks that cannot be used \(q/x.png.*; 1 photos without a mask that can"):
        pngs(tmp_path)
    assert len(pngs(tmp_path, allow_missing=True).photos) == 1


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"KEY/images and KEY/masks"):
        pngs(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        pngs(tmp_path / "none")
