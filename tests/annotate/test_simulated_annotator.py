"""The annotator of benchmarks/data_engine.py: what it clicks, keeps and rejects; it leaves no object without a mask."""

import sys

import numpy as np
import pytest
from laws.documents import ROOT
from PIL import Image
from starlette.testclient import TestClient

from samjax.annotate.access import Access
from samjax.annotate.annotation_folder import open_annotations
from samjax.annotate.encoding_ahead import EncodingStatus
from samjax.annotate.leases import Leases
from samjax.annotate.photo_list import open_photos
from samjax.annotate.photo_queue import PhotoQueue
from samjax.annotate.prompt_answer import Candidate, Candidates, ExactMask, screen_logits
from samjax.annotate.prompted_masks import PromptedMasks
from samjax.annotate.proposal import Proposal, ProposalState
from samjax.annotate.queue_config import QueueConfig, QueueMode
from samjax.annotate.routes import make_app
from samjax.annotate.saved_mask import Source
from samjax.annotate.workplace import Workplace
from samjax.data.masks import rle
from samjax.eval.protocols.point_to_mask.places import central_place

sys.path.append(str(ROOT / "benchmarks"))
from rehearsal_photos import divide, file_of
from rehearsal_report import draw, summarise, table
from simulated_annotator import Annotator, Habits, PhotoTruth, Verdict, judge, next_object, read_answer

HOST = "127.0.0.1:8117"
SIZE, GRID, VALID = (48, 64), (32, 32), (24.0, 32.0)
RADII = (4.0, 7.0, 11.0)


def distances(x, y, size=SIZE, scale=1.0):
    """Return of each place of a grid how many pixels of the photo it is from (x, y)."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.hypot((columns + 0.5) * scale - 0.5 - x, (rows + 0.5) * scale - 0.5 - y)


def disc(x, y, radius):
    return distances(x, y) < radius


BAR = np.zeros(SIZE, bool)
BAR[42:46, 4:60] = True
TRUTH = PhotoTruth(objects=[BAR, disc(20, 24, 7.0), disc(50, 12, 4.0)], small=[disc(50, 30, 2.5)])
"""Two objects that discs show, and one that they do not."""


class DiscMasks(PromptedMasks):
    """A model without JAX: to a click three discs around it, to each further click a smaller one than before."""

    def __init__(self):
        self.discs = {}

    async def predict(self, photo_id, request):
        x, y = request.points[0]
        radii = RADII if request.is_ambiguous else (0.8 * self.discs[request.previous][2],)
        handles = []
        for radius in radii:
            handles.append(str(len(self.discs)))
            self.discs[handles[-1]] = (x, y, radius)
        logits = np.stack([radius - distances(x, y, GRID, scale=2.0) for radius in radii]).astype(np.float32)
        return Candidates(
            candidates=tuple(Candidate(iou=0.9, stability=0.9, handle=handle) for handle in handles),
            logits=screen_logits(logits, valid=VALID),
            valid=VALID,
            generation=request.generation,
            decode_ms=1.0,
        )

    async def exact_mask(self, handle, *, photo_id):
        return ExactMask(runs=rle.encode(disc(*self.discs[handle])), iou=0.9, stability=0.9)

    def set_next(self, annotator, photo_ids):
        pass

    def status(self):
        return EncodingStatus(waiting=0, ahead=0, fault=None)


@pytest.fixture
def annotate(tmp_path):
    """Return the work of the annotator on two photos, and the folder that it left."""
    pictures = tmp_path / "photos"
    pictures.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(pictures / f"{name}.jpg")
    folder = open_annotations(tmp_path / "out", open_photos([f"{pictures}/*.jpg"], tmp_path / "out"), {})

    def annotate(habits, *, mode=QueueMode.MANUAL, proposals=()):
        for photo in folder.photos if proposals else ():
            folder.set_proposals(photo, proposals, model="micro")
        queue = PhotoQueue(folder, Leases(folder.events), QueueConfig(mode=mode))
        place = Workplace(folder, queue, DiscMasks(), model={"name": "discs", "digest": "0" * 64}, version="0")
        app = Access(make_app(place), hosts={HOST}, token=None)
        with TestClient(app, base_url=f"http://{HOST}", headers={"X-Annotator": "simulated"}) as page:
            return list(Annotator(page, lambda name: TRUTH, habits).work()), folder

    yield annotate
    folder.close()


def masks_of(folder, photo):
    return [rle.decode(mask.runs["counts"], height=SIZE[0], width=SIZE[1]) for mask in folder.masks(photo)]


def assert_each_object_has_one_mask(folder):
    for photo in folder.photos:
        masks = masks_of(folder, photo)
        assert sorted(judge(masks, TRUTH.objects, right=0.75), key=str) == [(Verdict.RIGHT, n) for n in range(3)]
        assert next_object(TRUTH.objects, masks, done=(), right=0.75) is None


def test_all_objects_of_all_photos_get_a_mask(annotate):
    works, folder = annotate(Habits(clicks=4))
    assert [work.photo for work in works] == ["a.jpg", "b.jpg"]
    for work in works:
        made = [(mask["source"], mask["clicks"]) for mask in work.masks]
        assert made == [("brush", 4), ("clicks", 1), ("clicks", 1)], "the largest object first"
        assert work.masks[0]["iou"] == 1
        assert min(mask["iou"] for mask in work.masks) >= 0.85
        assert len(work.answer_ms) == 6
        assert (work.objects, work.small, work.earlier, work.without) == (3, 1, 0, 0)
    assert_each_object_has_one_mask(folder)
    assert all(folder.progress.photo(photo).is_done for photo in folder.photos)


def test_without_a_brush_the_best_mask_of_the_clicks_is_committed(annotate):
    works, folder = annotate(Habits(clicks=4, brush=False))
    assert [mask["source"] for mask in works[0].masks] == ["clicks"] * 3
    x, y, _ = central_place(BAR)
    discs = [disc(x, y, radius) for radius in RADII]
    best = max((one & BAR).sum() / (one | BAR).sum() for one in discs)
    assert works[0].masks[0]["iou"] == best
    assert len(masks_of(folder, next(iter(folder.photos)))) == 3


def proposal(number, mask):
    runs = rle.encode(mask)
    return Proposal(number=number, runs=runs, bbox=(0.0, 0.0, 9.0, 9.0), predicted_iou=0.9 - number / 100,
                    stability_score=0.97, point=(8.0, 8.0))  # fmt: skip


def test_wrong_and_double_proposals_go_and_what_is_missing_is_added(annotate):
    shifted, exact, nothing, small = disc(21, 24, 7.0), disc(20, 24, 7.0), disc(40, 24, 6.0), TRUTH.small[0]
    proposals = [proposal(number, mask) for number, mask in enumerate((shifted, exact, nothing, small))]
    works, folder = annotate(Habits(clicks=2), mode=QueueMode.PREFILL, proposals=proposals)
    rejected, accepted = ProposalState.REJECTED, ProposalState.ACCEPTED
    for work, photo in zip(works, folder.photos, strict=True):
        assert work.proposals == {"right": 2, "double": 1, "wrong": 1}
        assert [one.state for one in folder.proposals(photo)] == [rejected, accepted, rejected, accepted]
        assert [mask["source"] for mask in work.masks] == ["brush", "clicks"]
        by_proposal = [mask.runs for mask in folder.masks(photo) if mask.source is Source.PROPOSAL]
        assert by_proposal == [rle.encode(exact), rle.encode(small)]
    figures = summarise([work.to_json() for work in works])
    assert (figures["photos"], figures["masks"], figures["clicks"]) == (2, 8, 6)
    assert (figures["clicks_per_mask"], figures["clicks_per_mask_made"]) == (6 / 8, 6 / 4)
    assert figures["proposals"]["wrong_share"] == 0.25


@pytest.mark.parametrize("seed", range(20))
def test_an_object_has_one_right_mask_the_best(seed):
    generator = np.random.default_rng(seed)
    objects = [disc(*generator.uniform((0, 0), SIZE[::-1]), generator.uniform(4, 12)) for _ in range(4)]
    masks = [disc(*generator.uniform((0, 0), SIZE[::-1]), generator.uniform(4, 12)) for _ in range(12)]
    masks += [np.roll(one, shift, axis=1) for one in objects for shift in (0, 1)]
    ious = np.array([[(mask & one).sum() / max((mask | one).sum(), 1) for one in objects] for mask in masks])
    found = judge(masks, objects, right=0.6)
    for place in range(len(objects)):
        there = [n for n, (_, shown) in enumerate(found) if shown == place]
        if there:
            (best,) = [n for n in there if found[n][0] is Verdict.RIGHT]
            assert ious[best, place] == max(ious[n, place] for n in there)
    for (verdict, place), row in zip(found, ious, strict=True):
        assert (verdict is Verdict.WRONG) == (place is None) == (row.max() < 0.6)


def test_the_next_object_is_the_first_that_no_mask_shows():
    first, second, third = objects = [disc(12, 12, 9.0), disc(40, 20, 7.0), disc(20, 40, 4.0)]
    assert next_object(objects, [], done=(), right=0.75) == 0
    assert next_object(objects, [np.roll(first, 1)], done=(), right=0.75) == 1
    assert next_object(objects, [np.roll(first, 9)], done=(), right=0.75) == 0, "half of it is not enough"
    assert next_object(objects, [second], done=(0,), right=0.75) == 2
    assert next_object(objects, [second, third], done=(0,), right=0.75) is None


def test_the_annotator_sees_what_the_model_said():
    logits = (7.0 - distances(40, 17, GRID, scale=2.0)).astype(np.float32)[None]
    packed = Candidates(
        candidates=(Candidate(iou=0.8, stability=0.9, handle="h"),),
        logits=screen_logits(logits, valid=VALID),
        valid=VALID,
        generation=1,
        decode_ms=2.5,
    ).pack()
    answer = read_answer(packed, size=SIZE)
    assert (answer.handles, answer.decode_ms) == (["h"], 2.5)
    (mask,) = answer.masks
    truth = disc(40, 17, 7.0)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9


def test_no_photo_has_two_parts_and_none_is_shown_with_its_masks(tmp_path):
    photos = divide(None, start=5, stages=(4, 3, 2), held_out=6, least_area=0.01)
    parts = [photos.start, *photos.stages, photos.held_out]
    names = [file_of(record) for part in parts for record in part]
    assert len(set(names)) == len(names) == 20
    photos.write(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("photos/**/*") if path.is_file()) == sorted(names[5:14])
    for record in photos.stages[1]:
        truth = photos.truth(file_of(record))
        areas = [mask.sum() / mask.size for mask in truth.objects]
        assert areas == sorted(areas, reverse=True)
        assert min(areas, default=1) >= 0.01 > max((mask.sum() / mask.size for mask in truth.small), default=0)
        assert len(truth.objects) + len(truth.small) == len(record.annotations)


def test_stages_that_were_skipped_are_empty_cells(tmp_path):
    work = summarise([])
    results = {"start": {"score": {"miou@1": 0.25}, "seconds": 60}, "stage_1": {"work": work, "seconds": 90}}
    rows = table(results).splitlines()
    assert rows[0] == "| | start | stage 1 |"
    assert "| held-out mIoU@1 afterwards | 0.250 |  |" in rows
    assert "| minutes | 1.0 | 1.5 |" in rows
    draw(tmp_path / "picture.png", results)
    assert (tmp_path / "picture.png").stat().st_size > 1_000
