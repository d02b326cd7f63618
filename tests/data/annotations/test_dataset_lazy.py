"""No more masks are decoded than are evaluated, and the photos are those of a data set that was decoded whole."""

import contextlib

import numpy as np
import pytest
from dataset_files import SIZE, label_map, panoptic_rgb, random_masks, write_json, write_photo, write_png

from samjax.core.errors import UserError
from samjax.data.annotations import instance_pngs, label_maps, panoptic
from samjax.data.annotations.formats import FormatOptions, Objects
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.open_dataset import open_dataset, promptable
from samjax.data.annotations.subset import sample

PHOTOS = 40


def counted(monkeypatch, module, name):
    """Return the paths that `module` decodes from now on."""
    seen, real = [], getattr(module, name)

    def read(path):
        seen.append(path)
        return real(path)

    monkeypatch.setattr(module, name, read)
    return seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 photos with one to four objects each, in three formats; the fourth label map and folder has none."""
    place = tmp_path_factory.mktemp("many")
    images, annotations = [], []
    for number in range(PHOTOS):
        name = f"{number:02}"
        values = range(1, 2 + number % 4)
        write_photo(place / f"photos/{name}.png")
        write_png(place / f"maps/{name}.png", label_map(values, seed=number) * (number != 3))
        for value in values:
            mask = random_masks(1, seed=value)[0] * (number != 3)
            write_png(place / f"masks/{name}/{value}.png", mask.astype(np.uint8))
        write_png(place / f"all/{name}.png", panoptic_rgb(label_map(values, seed=number).astype(int)))
        images.append({"id": number + 1, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]})
        said = [{"id": value, "category_id": 1, "iscrowd": int(number == 3)} for value in values]
        annotations.append({"image_id": number + 1, "file_name": f"{name}.png", "segments_info": said})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    write_json(place / "all.json", content)
    return place


FORMATS = {
    "label-maps": ("maps", label_maps, "read_values"),
    "instance-pngs": ("masks", instance_pngs, "read_mask"),
    "panoptic": ("all.json", panoptic, "read_colours"),
}


def opened(folder, format, **asked):
    images = ImageFolder(folder / "photos")
    return open_dataset(f"x={folder / FORMATS[format][0]}", format=format, images=images, **asked)


def names(found):
    return [photo.name for photo in found.dataset.photos]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("most_masks", [None, 12, 60, 200])
def test_the_photos_are_those_of_the_whole(folder, format, most_masks):
    """Cut or not, a limit takes the first of what there would be without."""
    allowed = {"allow_missing": True} if format == "instance-pngs" else {"allow_unannotated": True}
    whole = promptable(opened(folder, format, **allowed).dataset)
    assert len(whole.photos) == PHOTOS - 1
    cut = whole if most_masks is None else sample(whole, most=most_masks, enough=most_masks)
    found = opened(folder, format, most_masks=most_masks, **allowed)
    assert names(found) == [photo.name for photo in cut.photos]
    first = opened(folder, format, most_masks=most_masks, limit=4, **allowed)
    assert names(first) == names(found)[:4]
    for photo, same in zip(first.dataset.photos, found.dataset.photos, strict=False):
        assert photo.instances == same.instances
    assert (most_masks in (12, 60)) is ("masks drawn of 40 photos" in "".join(found.notes))


@pytest.mark.parametrize("format", FORMATS)
def test_a_limit_decodes_the_first_photos_alone(folder, format, monkeypatch):
    _, module, name = FORMATS[format]
    seen = counted(monkeypatch, module, name)
    allowed = {"allow_missing": True}
    assert names(opened(folder, format, limit=3, **allowed)) == ["00.png", "01.png", "02.png"]
    assert len({path.parent if format == "instance-pngs" else path for path in seen}) == 3
    seen.clear()
    assert names(opened(folder, format, limit=4, **allowed))[-1] == "04.png", "the one without objects is passed over"
    assert len({path.parent if format == "instance-pngs" else path for path in seen}) == 5


def test_a_cut_decodes_until_it_is_known(folder, monkeypatch):
    """Label maps in the order of the draw; where the files say how many masks there are, no more than are evaluated."""
    maps = counted(monkeypatch, label_maps, "read_values")
    found = opened(folder, "label-maps", most_masks=12, allow_unannotated=True)
    assert len(found.dataset.photos) <= len(maps) <= 32 < PHOTOS
    masks = counted(monkeypatch, instance_pngs, "read_mask")
    found = opened(folder, "instance-pngs", most_masks=12, limit=2)
    assert len(found.dataset.photos) == 2
    assert len(masks) == found.dataset.masks


def test_a_fault_beyond_the_limit_is_not_met(folder):
    assert len(opened(folder, "label-maps", limit=3).dataset.photos) == 3
    with pytest.raises(UserError, match=r"1 label maps without an object \(03.png\).*--allow-unannotated"):
        opened(folder, "label-maps", limit=4)


def test_maps_that_are_one_object_each_need_no_decoding_to_know_that_nothing_is_cut(folder, monkeypatch):
    seen = counted(monkeypatch, label_maps, "read_values")
    options = FormatOptions(objects=Objects.WHOLE)
    found = opened(folder, "label-maps", options=options, most_masks=PHOTOS, limit=2)
    assert (len(seen), len(found.dataset.photos)) == (2, 2)
    asked = {"options": options, "most_masks": PHOTOS - 2, "allow_unannotated": True}
    whole = promptable(opened(folder, "label-maps", options=options, allow_unannotated=True).dataset)
    drawn = sample(whole, most=PHOTOS - 2, enough=PHOTOS - 2)
    assert names(opened(folder, "label-maps", **asked)) == [photo.name for photo in drawn.photos]


def test_a_bar_is_shown_before_anything_is_decoded(folder, monkeypatch):
    seen = counted(monkeypatch, label_maps, "read_values")
    shown = []

    @contextlib.contextmanager
    def progress(what, *, total):
        shown.append((what, total, len(seen)))
        done = []
        yield done.append
        shown.append(sum(done))

    opened(folder, "label-maps", limit=3, progress=progress)
    assert shown == [("masks of x", 3, 0), 3]
