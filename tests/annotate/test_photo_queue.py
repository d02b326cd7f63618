"""The queue: each order and each mode gives the photos it says, and no photo is stuck."""

import pytest
from helpers.annotators import open_folder, some_mask, some_proposals

from samjax.annotate.annotation_folder import open_annotations
from samjax.annotate.leases import Leases
from samjax.annotate.photo_queue import PhotoQueue
from samjax.annotate.proposal import ProposalState
from samjax.annotate.queue_config import QueueConfig, QueueMode, QueueOrder
from samjax.annotate.refusals import InvalidMaskError, LostLeaseError, UnknownPhotoError
from samjax.annotate.saved_mask import MaskVerdict, Source
from samjax.core.errors import UserError


@pytest.fixture
def folder(tmp_path):
    with open_folder(tmp_path, 5) as folder:
        yield folder


def queue_of(folder, *, clock=lambda: 0.0, **config) -> PhotoQueue:
    leases = Leases(folder.events, existing=folder.progress.leases, clock=clock)
    return PhotoQueue(folder, leases, QueueConfig(**config))


def finish_all(queue: PhotoQueue, annotator: str) -> list[int]:
    """Return the photos that an annotator gets, one done after the other."""
    photos = []
    while lease := queue.next(annotator):
        photos.append(lease.photo)
        queue.finish(lease.photo, lease=lease.number)
    return photos


def test_as_listed(folder):
    queue = queue_of(folder)
    assert queue.ahead("ann") == [0, 1]
    assert (queue.next("ann").photo, queue.next("bob").photo) == (0, 1)
    assert queue.ahead("ann", 5) == queue.ahead("eve", 5) == [2, 3, 4]
    assert queue.left("ann") == 3
    assert finish_all(queue, "ann") == [0, 2, 3, 4]
    assert queue.left("ann") == 0
    assert queue.next("eve") is None
    assert (folder.path / "sa_4.json").exists()  # done without a mask


def test_a_request_that_is_sent_again_meanwhile_gets_the_same_photo(folder, monkeypatch):
    """A page that lost the answer asks again, while its first request waits for a photo to be read."""
    queue, read, again = queue_of(folder), folder.jpeg, []

    def jpeg(id):
        if not again:
            again.append(None)
            again[0] = queue.next("ann")
        return read(id)

    monkeypatch.setattr(folder, "jpeg", jpeg)
    first = queue.next("ann")
    assert (first.photo, again[0].photo) == (0, 0)
    assert queue.leases.of_photo(0) == first
    assert queue.next("bob").photo == 1


def test_random_is_the_same_for_a_seed(folder, tmp_path):
    orders = {seed: queue_of(folder, order=QueueOrder.RANDOM, seed=seed).ahead("ann", 5) for seed in range(20)}
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) > 10
    assert orders[3] == queue_of(folder, order=QueueOrder.RANDOM, seed=3).ahead("ann", 5)
    with open_folder(tmp_path / "more", 6) as more:
        longer = queue_of(more, order=QueueOrder.RANDOM, seed=3).ahead("ann", 6)
    assert [id for id in longer if id != 5] == orders[3]  # a photo that is added moves no other


def test_least_certain_first_and_last_those_without_proposals(folder):
    for id, ious in ((0, (0.9, 0.95)), (2, (0.7, 0.9)), (3, (0.99,))):
        folder.set_proposals(id, some_proposals(*ious), model="vit_b")
    assert finish_all(queue_of(folder, order=QueueOrder.LEAST_CERTAIN), "ann") == [2, 0, 3, 1, 4]


def test_fewest_masks_first(folder):
    for seed, id in enumerate((0, 0, 1, 2, 2, 2)):
        folder.commit(id, some_mask(seed))
    queue = queue_of(folder, order=QueueOrder.FEWEST_MASKS)
    assert queue.ahead("ann", 5) == [3, 4, 1, 0, 2]
    folder.commit(3, some_mask(9))
    folder.delete(0, some_mask(0).uuid, 1, annotator="ann")
    folder.delete(0, some_mask(1).uuid, 1, annotator="ann")
    assert queue.ahead("ann", 5) == [0, 4, 1, 3, 2]


def test_a_skipped_photo_goes_to_others_and_comes_back_with_the_next_start(folder):
    queue = queue_of(folder)
    first = queue.next("ann")
    assert queue.next("ann", skip=first.photo).photo == 1
    assert queue.next("bob").photo == 0
    queue.skip(1, lease=queue.leases.of_annotator("ann").number)
    assert finish_all(queue, "ann") == [2, 3, 4]
    with pytest.raises(LostLeaseError):
        queue.skip(2, lease=first.number)
    with pytest.raises(UnknownPhotoError):
        queue.next("ann", skip=77)
    folder.close()
    with open_annotations(folder.path, folder.photos, {}) as again:
        assert queue_of(again).ahead("ann", 5) == [1]  # bob still has the other


def test_a_page_that_is_loaded_again_gets_its_photo_again(folder):
    queue = queue_of(folder)
    first, second = queue.next("ann"), queue.next("ann")
    assert (first.photo, second.photo) == (0, 0)
    with pytest.raises(LostLeaseError):
        queue.finish(0, lease=first.number)
    queue.finish(0, lease=second.number)
    assert queue.next("ann").photo == 1


def test_back_goes_through_what_the_annotator_had(folder):
    queue = queue_of(folder)
    assert queue.back("ann") is None
    for _ in range(3):
        lease = queue.next("ann")
        queue.finish(lease.photo, lease=lease.number)
    queue.next("ann", skip=queue.next("ann").photo)
    assert [queue.back("ann").photo for _ in range(2)] == [3, 2]
    assert queue.leases.take(1, "bob")
    assert queue.back("ann").photo == 0  # the other is bob's
    assert queue.back("ann") is None
    assert queue.leases.of_annotator("ann").photo == 0
    folder.close()
    with open_annotations(folder.path, folder.photos, {}) as again:
        queue = queue_of(again)
        assert queue.next("ann").photo == 0
        assert queue.next("ann", skip=0).photo == 3


def test_an_expired_photo_goes_to_another_with_its_masks(folder):
    now = [0.0]
    queue = queue_of(folder, clock=lambda: now[0])
    lease = queue.next("ann")
    mask = folder.commit(lease.photo, some_mask())
    now[0] = 500.0
    assert queue.next("bob").photo == lease.photo
    assert folder.masks(lease.photo) == [mask]
    late = folder.commit(lease.photo, some_mask(1))  # adds are never refused
    assert folder.masks(lease.photo) == [mask, late]
    with pytest.raises(LostLeaseError):
        queue.finish(lease.photo, lease=lease.number)


def test_a_photo_that_cannot_be_read_is_passed_over(folder, caplog):
    folder.photos[0].path.write_bytes(b"no photo")
    queue = queue_of(folder)
    assert queue.next("ann").photo == 1
    assert "photo 0 is passed over" in caplog.text
    assert queue.unreadable.keys() == {0}
    assert queue.left("bob") == 3


def test_review_has_photos_with_open_proposals(folder):
    for id in (1, 3):
        folder.set_proposals(id, some_proposals(0.9, 0.8), model="vit_b")
    queue = queue_of(folder, mode=QueueMode.REVIEW)
    assert queue.ahead("ann", 5) == [1, 3]
    folder.accept(1, {0: 0}, annotator="ann")
    assert queue.ahead("ann", 5) == [1, 3]
    folder.set_state(1, 1, ProposalState.REJECTED, revision=0, annotator="ann")
    assert queue.ahead("ann", 5) == [3]
    folder.set_state(1, 1, ProposalState.OPEN, revision=1, annotator="ann")
    assert finish_all(queue, "ann") == [1, 3]


def test_prefill_makes_proposals_masks_when_the_photo_is_handed_out(folder):
    folder.set_proposals(0, some_proposals(0.9, 0.8, 0.7), model="vit_b")
    folder.set_state(0, 1, ProposalState.REJECTED, revision=0, annotator="bob")
    queue = queue_of(folder, mode=QueueMode.PREFILL)
    assert not list(folder.path.glob("sa_*"))
    for _ in range(2):  # loaded again, nothing is doubled
        assert queue.next("ann").photo == 0
        masks = folder.masks(0)
        assert [(mask.predicted_iou, mask.source, mask.model) for mask in masks] == [
            (0.9, Source.PROPOSAL, "vit_b"),
            (0.7, Source.PROPOSAL, "vit_b"),
        ]
    folder.delete(0, masks[0].uuid, 1, annotator="ann")
    queue.next("ann")
    assert [mask.predicted_iou for mask in folder.masks(0)] == [0.7]
    assert queue.next("bob").photo == 1


def test_verify_gives_a_photo_to_another_person_than_made_its_masks(folder):
    folder.commit(0, some_mask(0, annotator="ann"))
    folder.commit(1, some_mask(1, annotator="bob"))
    folder.commit(2, some_mask(2, annotator="ann"))
    folder.commit(2, some_mask(3, annotator="bob"))
    queue = queue_of(folder, mode=QueueMode.VERIFY)
    assert queue.ahead("ann", 5) == [1, 2]
    assert queue.ahead("bob", 5) == [0, 2]
    assert queue.ahead("eve", 5) == [0, 1, 2]
    folder.judge(1, some_mask(1).uuid, MaskVerdict.YES, annotator="ann")
    folder.judge(2, some_mask(3).uuid, MaskVerdict.NO, annotator="ann")
    assert queue.ahead("ann", 5) == []
    assert queue.ahead("bob", 5) == [0, 2]
    lease = queue.next("bob")
    queue.finish(lease.photo, lease=lease.number)  # without a verdict: not bob again
    assert queue.ahead("bob", 5) == [2]
    assert queue.ahead("eve", 5) == [0, 2]


def test_redo_brings_a_photo_back_to_those_who_draw(folder):
    folder.commit(0, some_mask(0))
    for id in folder.photos:
        folder.finish(id, annotator="ann")
    queue = queue_of(folder)
    assert queue.ahead("ann", 5) == []
    folder.judge(0, some_mask(0).uuid, MaskVerdict.REDO, annotator="bob")
    assert queue.ahead("ann", 5) == [0]
    folder.commit(0, some_mask(0, place=5), revision=1)
    assert queue_of(folder, mode=QueueMode.VERIFY).ahead("bob", 5) == [0]
    folder.finish(0, annotator="ann")
    assert queue.ahead("ann", 5) == []


def test_a_mask_to_be_redone_goes_round_in_the_mode_verify(folder):
    """From who judged it to anybody else, also who made it, and back to be judged: without a start in between."""
    folder.commit(0, some_mask(0))
    queue = queue_of(folder, mode=QueueMode.VERIFY)

    def done(name):
        lease = queue.next(name)
        assert lease.photo == 0
        queue.finish(0, lease=lease.number)

    for turn, (maker, judge) in enumerate([("ann", "bob"), ("ann", "bob"), ("eve", "bob")], 1):
        assert queue.ahead(judge, 5) == [0]
        folder.judge(0, some_mask(0).uuid, MaskVerdict.REDO, annotator=judge)
        done(judge)
        assert queue.ahead(judge, 5) == []  # who sent it back does not get it at once
        done("joe")  # has nothing to say
        assert queue.ahead("joe", 5) == []
        assert queue.ahead(maker, 5) == [0]
        lease = queue.next(maker)
        folder.commit(0, some_mask(0, place=turn, annotator=maker), revision=turn)
        queue.finish(0, lease=lease.number)
        assert queue.ahead(maker, 5) == []
        assert queue.ahead(judge, 5) == queue.ahead("joe", 5) == [0]
    folder.judge(0, some_mask(0).uuid, MaskVerdict.YES, annotator="ann")
    assert [queue.ahead(name, 5) for name in ("ann", "bob", "eve", "joe")] == [[]] * 4
    folder.judge(0, some_mask(0).uuid, MaskVerdict.REDO, annotator="ann")
    done("joe")
    skipped = queue.next("bob")
    queue.skip(0, lease=skipped.number)
    folder.commit(0, some_mask(0, place=9, annotator="eve"), revision=4)
    assert queue.ahead("joe", 5) == [0]
    assert queue.ahead("bob", 5) == []  # passed on: not before the next start
    folder.close()
    with open_annotations(folder.path, folder.photos, {}) as again:
        assert queue_of(again, mode=QueueMode.VERIFY).ahead("bob", 5) == [0]


def test_a_queue_says_what_is_wrong_with_its_settings(folder):
    with pytest.raises(UserError, match="seed is -1"):
        QueueConfig(seed=-1)
    with pytest.raises(InvalidMaskError, match="no annotator's name"):
        queue_of(folder).next("")
