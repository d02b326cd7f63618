"""What a round of the data engine trains on is frozen: the same when the folder has gone on."""

import json

import numpy as np
import pytest
from PIL import Image

from samjax.api.frozen_masks import freeze_masks
from samjax.core.errors import UserError
from samjax.data.masks.rle import encode

SQUARE = encode(np.pad(np.ones((4, 4), bool), ((2, 6), (2, 6))))


def write(folder, id, masks=1):
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.full((12, 12, 3), id % 256, np.uint8)).save(folder / f"sa_{id}.jpg")
    mask = {"segmentation": SQUARE, "bbox": [2, 2, 3, 3], "area": 16, "predicted_iou": 0.9, "stability_score": 0.95}
    mask |= {"crop_box": [0, 0, 12, 12], "point_coords": [[3, 3]]}
    image = {"image_id": id, "width": 12, "height": 12, "file_name": f"sa_{id}.jpg"}
    content = {"image": image, "annotations": [{"id": place, **mask} for place in range(masks)]}
    (folder / f"sa_{id}.json").write_text(json.dumps(content))


@pytest.fixture
def source(tmp_path):
    for id in range(100, 160):
        write(tmp_path / "masks", id, masks=0 if id == 120 else 2)
    return tmp_path / "masks"


def test_every_photo_with_masks_is_copied_once(source, tmp_path):
    frozen = freeze_masks(source, tmp_path / "frozen", share=0.2)
    assert sorted((*frozen.train, *frozen.val)) == [id for id in range(100, 160) if id != 120]
    assert 4 <= len(frozen.val) <= 22
    for split, ids in (("train", frozen.train), ("val", frozen.val)):
        names = {f"sa_{id}.{suffix}" for id in ids for suffix in ("jpg", "json")}
        assert {path.name for path in frozen.folder(split).iterdir()} == names
        for name in names:
            assert (frozen.folder(split) / name).read_bytes() == (source / name).read_bytes()


def test_it_stays_when_people_go_on(source, tmp_path):
    first = freeze_masks(source, tmp_path / "frozen", share=0.2)
    listed = (tmp_path / "frozen" / "frozen.json").read_bytes()
    write(source, first.train[0], masks=9)
    write(source, 500)
    assert freeze_masks(source, tmp_path / "frozen", share=0.2) == first
    assert (tmp_path / "frozen" / "frozen.json").read_bytes() == listed
    again = freeze_masks(source, tmp_path / "next", share=0.2)
    assert set(first.val) <= set(again.val), "the same photos are held out in every round"
    digests = [json.loads((tmp_path / name / "frozen.json").read_text())["photos"] for name in ("frozen", "next")]
    changed = {id for id, digest in digests[0]["train"].items() if digests[1]["train"].get(id) != digest}
    assert changed == {str(first.train[0])}


@pytest.mark.parametrize(
    ("share", "other", "sentence"),
    [(0.3, None, "holds masks frozen .*share"), (0.2, "elsewhere", "holds masks frozen .*source")],
)
def test_another_round_is_not_mixed_in(source, tmp_path, share, other, sentence):
    freeze_masks(source, tmp_path / "frozen", share=0.2)
    for id in range(30):
        write(tmp_path / "elsewhere", id)
    with pytest.raises(UserError, match=sentence):
        freeze_masks(tmp_path / other if other else source, tmp_path / "frozen", share=share)


def test_too_few_photos_or_none_is_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no sa_\*\.json"):
        freeze_masks(tmp_path / "empty", tmp_path / "frozen", share=0.05)
    write(tmp_path / "one", 1)
    with pytest.raises(UserError, match="1 photos with masks, of which"):
        freeze_masks(tmp_path / "one", tmp_path / "frozen", share=0.05)
    assert not (tmp_path / "frozen").exists()


def test_a_photo_that_is_gone_is_told_and_nothing_is_left(source, tmp_path):
    (source / "sa_101.jpg").unlink()
    with pytest.raises(UserError, match=r"sa_101\.jpg: no such file"):
        freeze_masks(source, tmp_path / "frozen", share=0.2)
    assert not (tmp_path / "frozen").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"image": {}, "annotations": 3}', "nonsense"])
def test_a_damaged_json_is_named_and_nothing_is_left(source, tmp_path, text):
    (source / "sa_131.json").write_text(text)
    with pytest.raises(UserError, match=r"masks: sa_131 cannot be frozen .*: repair or remove it"):
        freeze_masks(source, tmp_path / "frozen", share=0.2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks"]
