"""Masks of another folder: judged, corrected, and compared with what they were."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.annotators import agree, make_photos, new_uuid, rectangle

from samjax.annotate.annotation_folder import AnnotationFolder, open_annotations
from samjax.annotate.leases import Leases
from samjax.annotate.mask_import import MODEL, import_masks, open_photos_with_masks
from samjax.annotate.photo_queue import PhotoQueue
from samjax.annotate.queue_config import QueueConfig, QueueMode
from samjax.annotate.saved_mask import MaskVerdict, Source
from samjax.annotate.work_figures import work_figures
from samjax.core.errors import UserError
from samjax.data.masks.mask_uuid import generated_uuid
from samjax.eval.corrected_folders import compare_folders

YES, NO, REDO, _ = MaskVerdict


def annotation(photo: int, place: int, **keys) -> dict:
    return {
        "id": photo * 100_000 + place,
        "segmentation": rectangle(10 * place),
        "bbox": [0.0, 0.0, 5.0, 4.0],
        "area": 30,
        "predicted_iou": 0.9,
        "stability_score": 0.95,
        "crop_box": [0.0, 0.0, 32.0, 24.0],
        "point_coords": [[3.0, 2.0]],
        **keys,
    }


def write(path, photo: int, annotations: list) -> None:
    image = {"image_id": photo, "width": 32, "height": 24, "file_name": f"sa_{photo}.jpg"}
    path.write_text(json.dumps({"image": image, "annotations": annotations}))


@pytest.fixture
def sample(tmp_path):
    """Three photos with two masks each, as `samjax annotate sample` writes them."""
    folder = tmp_path / "sample"
    make_photos(folder)
    for photo in range(3):
        (folder / f"{photo}.jpg").rename(folder / f"sa_{photo}.jpg")
        write(folder / f"sa_{photo}.json", photo, [annotation(photo, 0), annotation(photo, 1, uuid=new_uuid(photo))])
    (folder / "sample.json").write_text(json.dumps({"checkpoint": "runs/vit_h"}))
    return folder


def opened(sample) -> AnnotationFolder:
    out = sample.parent / "out"
    return open_annotations(out, open_photos_with_masks(sample, out), {})


def test_masks_come_in_once_and_keep_their_names(sample):
    before = {path.name: path.read_bytes() for path in sample.iterdir()}
    with opened(sample) as folder:
        assert import_masks(folder) == 6
        first, second = folder.masks(2)
        assert [first.uuid, second.uuid] == [generated_uuid(2, 0, rectangle(0)["counts"]), new_uuid(2)]
        assert (first.annotator, first.source, first.model) == (MODEL, Source.PROPOSAL, "runs/vit_h")
        assert (first.id, second.id, first.revision) == (200_000, 200_001, 1)
        assert first.prompts.points == ((3.0, 2.0),)
        folder.delete(2, first.uuid, 1, annotator="ann")
    with opened(sample) as folder:
        assert import_masks(folder) == 0
        assert [mask.uuid for mask in folder.masks(2)] == [new_uuid(2)]
        assert agree(folder)
    assert {path.name: path.read_bytes() for path in sample.iterdir()} == before
    assert work_figures(sample.parent / "out").by_annotator[MODEL].masks == 5


def test_what_people_judge_and_correct_is_compared_and_nothing_else(sample):
    """One yes, one no, one redo, one corrected; two masks nobody has looked at."""
    with opened(sample) as folder:
        import_masks(folder)
        queue = PhotoQueue(folder, Leases(folder.events), QueueConfig(mode=QueueMode.VERIFY))
        assert queue.next("ann").photo == 0
        yes, no = folder.masks(0)
        folder.judge(0, yes.uuid, YES, annotator="ann")
        folder.judge(0, no.uuid, NO, annotator="ann")
        queue.finish(0, lease=queue.leases.of_photo(0).number)
        lease = queue.next("ann")
        redo, wrong = folder.masks(lease.photo)
        folder.judge(1, redo.uuid, REDO, annotator="ann")
        changed = replace(wrong, runs=rectangle(10 + 12), source=Source.CHANGED, annotator="ann", model=None)
        folder.commit(1, replace(changed, predicted_iou=None, stability_score=None), revision=1)
        queue.finish(1, lease=lease.number)
        assert queue.next("ann").photo == 2
        assert queue.left("bob") == 1, "a correction is judged by another person"
        found = compare_folders(sample, folder.path)
        np.testing.assert_allclose(found.agreement.ious, [1, 25 / 35])
        assert (found.agreement.deletions, found.agreement.additions, found.agreement.waiting) == (1, 0, 3)
        assert "3 masks wait for a verdict or to be drawn again, and are not counted" in found.text()
        folder.judge(0, no.uuid, MaskVerdict.OPEN, annotator="ann")
        assert compare_folders(sample, folder.path).agreement.waiting == 4
        folder.finish(1, annotator="ann")
        assert compare_folders(sample, folder.path).agreement.waiting == 3


def test_nothing_judged_is_no_agreement(sample):
    with opened(sample) as folder:
        import_masks(folder)
        with pytest.raises(UserError, match="nobody has judged or changed any of the 6 masks"):
            compare_folders(sample, folder.path)


def test_masks_of_people_keep_their_annotator(sample):
    of_ann = {"annotator": "ann", "source": "box", "seconds": 4.0, "model": None, "verdict": "yes", "verifier": "bob"}
    write(sample / "sa_0.json", 0, [annotation(0, 0, uuid=new_uuid(9), **of_ann)])
    with opened(sample) as folder:
        import_masks(folder)
        (mask,) = folder.masks(0)
        assert (mask.annotator, mask.source, mask.seconds, mask.verdict) == ("ann", Source.BOX, 4.0, None)
        assert (mask.model, mask.predicted_iou) == (None, None)
        queue = PhotoQueue(folder, Leases(folder.events), QueueConfig(mode=QueueMode.VERIFY))
        assert (queue.next("ann").photo, queue.next("bob").photo) == (1, 0)


def emptied(folder):
    for path in folder.glob("sa_*.json"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (emptied, "sample holds no sa_<id>.jpg with its JSON: give what samjax annotate sample"),
        (lambda folder: (folder / "part-00001-of-00002").mkdir(), "holds parts of samjax generate: draw photos"),
        (lambda folder: (folder / "sa_1.json").unlink(), "sa_1.json"),
        (lambda folder: (folder / "sa_1.json").write_text("{"), "sa_1.json is not JSON"),
        (lambda folder: write(folder / "sa_1.json", 2, []), "sa_1.json is damaged .*another photo"),
        (lambda folder: write(folder / "sa_1.json", 1, [1]), "sa_1.json is damaged"),
        (lambda folder: write(folder / "sa_1.json", 1, [annotation(1, 0, uuid="x")]), "'x' is no UUID4"),
        (lambda folder: write(folder / "sa_1.json", 1, [annotation(1, 0, area=None)]), "has no area"),
        (lambda folder: write(folder / "sa_1.json", 1, [annotation(1, 0, bbox=[1])]), "is damaged"),
        (
            lambda folder: write(folder / "sa_1.json", 1, [annotation(1, 0, segmentation={"size": [24, 32]})]),
            "of the ph",
        ),
        (
            lambda folder: write(
                folder / "sa_1.json", 1, [annotation(1, 0, segmentation={"size": [24, 32], "counts": "0"})]
            ),
            "sa_1.json is damaged",
        ),
        (lambda folder: write(folder / "sa_1.json", 1, [annotation(1, 0, uuid=new_uuid(1))] * 2), "two masks of one"),
    ],
)
def test_what_cannot_be_brought_in_is_a_sentence_and_is_resumed(sample, spoil, sentence):
    whole = (sample / "sa_1.json").read_text()
    spoil(sample)
    with pytest.raises(UserError, match=sentence), opened(sample) as folder:
        import_masks(folder)
    if (out := sample.parent / "out").exists():
        (sample / "sa_1.json").write_text(whole)
        with open_annotations(out, open_photos_with_masks(sample, out), {}) as folder:
            assert import_masks(folder) == 4, "the first photo has been done"
            assert agree(folder)


def test_the_folder_of_masks_is_not_written_to(sample):
    with pytest.raises(UserError, match="--masks and --out are both"):
        open_photos_with_masks(sample, sample)
