"""Annotations to score by: photos without any have an option of their own, and nothing is never a result."""

import pytest
from dataset_files import coco_content, label_map, random_masks, write_json, write_photo, write_png

from samjax.core.errors import UserError
from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.instance_pngs import open_instance_pngs
from samjax.data.annotations.label_maps import open_label_maps
from samjax.eval.ground_truth import read_annotated_photos
from samjax.eval.protocols.edges.bsds import open_bsds
from samjax.eval.results import Results, Row
from samjax.eval.run import write_results


@pytest.fixture
def folder(tmp_path):
    for name in "abc":
        write_photo(tmp_path / f"photos/{name}.jpg")
    return tmp_path


def content():
    """The first photo has no annotation."""
    return coco_content({"a.jpg": [], "b.jpg": random_masks(2), "c.jpg": random_masks(1)})


def read(folder, said, **allowed):
    path, images = write_json(folder / "x.json", said), ImageFolder(folder / "photos")
    return read_annotated_photos(path, images=images, **{"allow_missing": False, **allowed})


def test_photos_without_annotations_are_allowed_alone(folder):
    with pytest.raises(UserError, match=r"1 images without annotations \(1\). Fix it, or accept these with --allow"):
        read(folder, content())
    data = read(folder, content(), allow_unannotated=True)
    assert [photo.id for photo in data.photos] == [1, 2, 3]
    assert [photo.id for photo in data.first(None)] == [1, 2, 3]
    assert [photo.id for photo in data.first(1, annotated=True)] == [2]
    assert (data.left_out, data.notes) == ({}, ["1 of the photos have no annotations"])
    assert read(folder, content(), allow_missing=True).left_out == {}


def test_real_faults_are_refused_where_these_are_allowed(folder):
    said = content()
    said["annotations"][2]["image_id"] = 9
    with pytest.raises(UserError) as caught:
        read(folder, said, allow_unannotated=True)
    assert "1 annotations of images that are not in the file (id 3: image_id 9). Fix it, or leave" in str(caught.value)
    assert "images without annotations" not in str(caught.value)
    with pytest.raises(UserError, match="--allow-missing, or those without annotations alone with --allow-unannotated"):
        read(folder, said)


def test_every_format_has_such_photos(folder):
    write_png(folder / "maps/b.png", label_map((1,)))
    write_png(folder / "masks/b/0.png", random_masks(1)[0])
    images, options = ImageFolder(folder / "photos"), FormatOptions()
    for name, opened in (("label maps", open_label_maps), ("folders of masks", open_instance_pngs)):
        path = folder / ("maps" if name == "label maps" else "masks")
        data = opened(path, images=images, name="x", options=options)
        with pytest.raises(UserError, match=rf"2 photos without {name} \(a.jpg, c.jpg\).*--allow-unannotated"):
            data.read()
        assert data.read(allow_unannotated=True).dataset.left_out == {f"photos without {name}": 2}
    write_png(folder / "maps/c.png", label_map(()))
    write_png(folder / "maps/z.png", label_map((1,)))
    data = open_label_maps(folder / "maps", images=images, name="x", options=options)
    with pytest.raises(UserError, match=r"has 1 label maps without a photo \(z.png\). Fix"):
        data.read(allow_unannotated=True)


def test_no_photo_is_no_data(folder):
    said = content()
    for image in said["images"]:
        image["file_name"] = f"lost/{image['id']}.jpg"
    with pytest.raises(UserError, match=r"no photo with an annotation that can be used \(3 images whose photo is"):
        read(folder, said, allow_missing=True)
    with pytest.raises(UserError, match=r"no photo with an annotation that can be used \(it lists none"):
        read(folder, {**said, "images": [], "annotations": []})


def test_a_limit_that_leaves_nothing_to_score_by_is_refused(folder):
    data = read(folder, content(), allow_unannotated=True)
    with pytest.raises(UserError, match="none of the 1 photos to evaluate has an object to score by: give a larger"):
        data.first(1)
    said = content()
    for one in said["annotations"]:
        one["iscrowd"] = 1
    with pytest.raises(UserError, match="none of the 3 photos to evaluate has an object to score by: give other"):
        read(folder, said, allow_unannotated=True).first(None)


def test_results_of_nothing_are_refused(tmp_path, capsys):
    row = Row(name="boxes given", metrics={"AP": None}, photos=0, masks=0, left_out={"photos that cannot be read": 2})
    results = Results(protocol="instances", checkpoint="c", settings={}, rows=[row])
    with pytest.raises(UserError, match=r"boxes given: 0 photos with 0 objects were .* 2 photos that cannot be read"):
        write_results(results, tmp_path)
    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().out


def as_lvis(said):
    for image in said["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    for category in said["categories"]:
        category["frequency"] = "c"
    return said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda said: said["images"][1].pop("neg_category_ids"), "image 2 needs neg_category_ids, a list of ids"),
        (lambda said: said["images"][0].update(not_exhaustive_category_ids="3"), "image 1 needs not_exh.*it has '3'"),
        (lambda said: said["categories"][0].pop("frequency"), "category 3 needs the frequency 'r', 'c' or 'f'"),
        (lambda said: said["categories"][0].update(frequency=4), "category 3 needs the frequency.*it has 4"),
    ],
)
def test_annotations_that_are_lvis_in_part_are_refused(folder, change, says):
    assert read(folder, as_lvis(content()), allow_unannotated=True).truth.federated
    said = as_lvis(content())
    change(said)
    with pytest.raises(UserError, match=rf"x.json: {says}"):
        read(folder, said, allow_unannotated=True)


def test_lvis_stays_lvis_whatever_is_left_out(folder):
    said = as_lvis(content())
    said["images"][1]["file_name"] = "lost.jpg"
    data = read(folder, said, allow_missing=True)
    assert data.truth.federated
    assert [photo.id for photo in data.photos] == [1, 3]


def test_edges_pair_photos_and_ground_truth_that_are_data(tmp_path):
    """Hidden files are none, photos of one name are all named, those without ground truth are allowed alone."""
    from helpers.made_bsds import write_bsds

    write_bsds(tmp_path, photos=3, height=24, width=32)
    (photo, *_) = photos = sorted(next(path for path in tmp_path.rglob("images/test") if path.is_dir()).iterdir())
    truths = next(path for path in tmp_path.rglob("groundTruth/test") if path.is_dir())
    for place in (photo.parent / f"._{photo.name}", truths / f"._{photo.stem}.mat"):
        place.write_bytes(b"\0")
    assert len(open_bsds(tmp_path).photos) == 3
    (truths / f"{photo.stem}.mat").rename(tmp_path / "kept.mat")
    with pytest.raises(UserError, match=rf"1 photos without ground truth \({photo.name}\).*--allow-unannotated"):
        open_bsds(tmp_path)
    assert open_bsds(tmp_path, allow_unannotated=True).left_out == {"photos without ground truth": 1}
    (tmp_path / "kept.mat").rename(truths / f"{photo.stem}.mat")
    write_photo(photo.with_suffix(".png"), size=(24, 32))
    names = f"{photo.name} and {photo.stem}.png"
    with pytest.raises(UserError, match=rf"1 photos that are there twice \({names}\). Fix it, or leave"):
        open_bsds(tmp_path)
    assert [one.id for one in open_bsds(tmp_path, allow_missing=True).photos] == [one.stem for one in photos[1:]]
