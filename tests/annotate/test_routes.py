"""The routes as a page uses them: a real folder, queue and micro model behind starlette's client."""

import json
import struct
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.generators import micro_engine
from micro_annotator import micro_store
from PIL import Image
from starlette.testclient import TestClient

from samjax.annotate.access import LARGEST_BODY, Access
from samjax.annotate.annotation_folder import open_annotations
from samjax.annotate.leases import Leases
from samjax.annotate.photo_list import open_photos
from samjax.annotate.photo_queue import PhotoQueue
from samjax.annotate.prompted_masks import PromptedMasks
from samjax.annotate.proposal import Proposal
from samjax.annotate.queue_config import QueueConfig, QueueMode
from samjax.annotate.routes import make_app
from samjax.annotate.workplace import Workplace
from samjax.data.masks import rle
from samjax.data.photo import read_photo
from samjax.predict.promptable.predictor import Predictor

HOST = "127.0.0.1:8117"
SIZE = (48, 70)


@pytest.fixture(scope="module")
def engine():
    return micro_engine()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(draw.integers(0, 256, (*SIZE, 3), np.uint8)).save(folder / f"{name}.jpg")
    return folder


class Served:
    """A folder served in a mode, and the clients of its pages."""

    def __init__(self, pictures, out, engine, store, *, mode=QueueMode.MANUAL, token=None, proposals=()):
        self.folder = open_annotations(out, open_photos([f"{pictures}/*.jpg"], out), {})
        for photo in self.folder.photos if proposals else ():
            self.folder.set_proposals(photo, proposals, model="micro")
        queue = PhotoQueue(self.folder, Leases(self.folder.events), QueueConfig(mode=mode))
        self.masks = PromptedMasks(engine, photos=self.folder, store=store)
        model = {"name": "micro", "digest": "0" * 64}
        place = Workplace(self.folder, queue, self.masks, model=model, version="0")
        self.app = Access(make_app(place), hosts={HOST}, token=token)

    def page(self, annotator="ann", **headers) -> TestClient:
        return TestClient(self.app, base_url=f"http://{HOST}", headers={"X-Annotator": annotator, **headers})

    def close(self):
        self.masks.close()
        self.folder.close()


@pytest.fixture
def serve(pictures, tmp_path, engine):
    opened = []

    def serve(**options) -> Served:
        out = tmp_path / f"out{len(opened)}"
        opened.append(Served(pictures, out, engine, micro_store(tmp_path / "embeddings", engine), **options))
        return opened[-1]

    yield serve
    for one in opened:
        one.close()


def answer_of(response):
    length = struct.unpack("<I", response.content[:4])[0]
    header = json.loads(response.content[4 : 4 + length])
    grids = np.frombuffer(response.content[4 + length :], np.int8)
    return header, grids.reshape(len(header["candidates"]), header["height"], header["width"])


def click(page, photo, *points, box=None, previous=None, generation=1):
    prompts = {"points": [list(point[:2]) for point in points], "labels": [point[2] for point in points], "box": box}
    body = {**prompts, "previous": previous, "generation": generation, "hover": False}
    return page.post(f"/api/photos/{photo}/predict", json=body)


def commit(page, photo, name, *, handle, **fields):
    body = {"handle": handle, "source": "clicks", "prompts": {"points": [[9, 9]], "labels": [1], "box": None}, **fields}
    return page.put(f"/api/photos/{photo}/masks/{name}", json=body)


def square(top=4, left=6, side=12):
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return rle.encode(mask)


def proposal(number, iou):
    return Proposal(
        number=number,
        runs=square(left=6 + 14 * number),
        bbox=(6.0 + 14 * number, 4.0, 11.0, 11.0),
        predicted_iou=iou,
        stability_score=0.97,
        point=(8.0 + 14 * number, 8.0),
    )


def test_a_day_of_work_from_the_session_to_the_last_photo(serve, engine):
    """And the mask that is saved is the predictor's, bit for bit."""
    served = serve()
    with served.page() as page:
        session = page.get("/api/session").json()
        assert (session["mode"], session["order"], session["photos"]) == ("manual", "listed", 3)
        assert session["settings"] == {"lease_seconds": 120.0, "amber_seconds": 30, "smallest_mask": 10}
        opened = page.post("/api/next", json={}).json()
        photo, lease = opened["photo"]["id"], opened["lease"]["number"]
        assert opened["photo"] == {"id": photo, "width": 70, "height": 48, "name": "a.jpg"}
        assert len(opened["ahead"]) == 2
        jpeg = page.get(f"/api/photos/{photo}.jpg")
        assert "immutable" in jpeg.headers["cache-control"]
        assert jpeg.content == served.folder.photos[photo].path.read_bytes()

        header, grids = answer_of(click(page, photo, (20.0, 30.0, 1), generation=7))
        assert header["generation"] == 7
        assert len(header["candidates"]) == 3 == len(grids)
        first = header["candidates"][0]
        predictor = Predictor(engine)
        predictor.set_image(read_photo(served.folder.photos[photo].path))
        expected = predictor.predict(points=[[[20.0, 30.0]]], labels=[[1]])
        best = int(expected.iou[0].argmax())
        runs = page.get(f"/api/photos/{photo}/runs/{first['handle']}").json()
        np.testing.assert_array_equal(rle.decode(runs["counts"], height=48, width=70), expected.masks[0, best])

        refined = click(page, photo, (20.0, 30.0, 1), (40.0, 10.0, 0), previous=first["handle"])
        assert len(answer_of(refined)[0]["candidates"]) == 1
        name = str(uuid.uuid4())
        effort = {"first_seconds": 3.5, "boxes": 0, "strokes": 0, "undos": 1, "decode_ms": [header["decode_ms"]]}
        spent = {"seconds": 12.5, "clicks": 1, "effort": effort}
        saved = commit(page, photo, name, handle=first["handle"], lease=lease, **spent).json()
        assert page.get("/api/stats").json()["effort"]["first_seconds"] == {"mean": 3.5, "median": 3.5}
        assert (saved["uuid"], saved["revision"], saved["runs"]) == (name, 1, runs)
        assert saved["predicted_iou"] == pytest.approx(first["iou"])
        written = json.loads((served.folder.path / f"sa_{photo}.json").read_text())
        assert [one["uuid"] for one in written["annotations"]] == [name]

        assert page.post(f"/api/photos/{photo}/alive", json={"lease": lease}).json() == {}
        assert page.post(f"/api/photos/{photo}/done", json={"lease": lease}).json() == {}
        following = page.post("/api/next", json={}).json()
        assert following["photo"]["name"] == "b.jpg"
        back = page.post(f"/api/photos/{following['photo']['id']}/back", json={}).json()
        assert [mask["uuid"] for mask in back["masks"]] == [name]
        stats = page.get("/api/stats").json()
        assert stats["masks"] == 1
        for _ in range(2):
            opened = page.post("/api/next", json={"skip": page.post("/api/next", json={}).json()["photo"]["id"]})
        assert opened.status_code in (200, 204)


def test_a_retry_adds_nothing_and_a_change_needs_revision_and_lease(serve):
    served = serve()
    with served.page() as page:
        opened = page.post("/api/next", json={}).json()
        photo, lease = opened["photo"]["id"], opened["lease"]["number"]
        name = str(uuid.uuid4())
        put = {"runs": square(), "source": "brush", "prompts": None}
        path = f"/api/photos/{photo}/masks/{name}"
        first, again = page.put(path, json=put).json(), page.put(path, json={**put, "lease": 10**6}).json()
        assert first == again
        changed = {**put, "runs": square(side=20), "lease": lease}
        stale = page.put(path, json={**changed, "revision": 5})
        assert stale.status_code == 409
        assert stale.json()["stored"] == first
        other = page.put(path, json={**changed, "revision": 1, "lease": lease + 50})
        assert other.status_code == 409
        assert other.json()["stored"] == first
        second = page.put(path, json={**changed, "revision": 1}).json()
        assert (second["revision"], second["runs"]) == (2, square(side=20))
        assert page.delete(f"{path}?revision=1&lease={lease}").status_code == 409
        gone = page.delete(f"{path}?revision=2&lease={lease}").json()["revision"]
        late = page.put(path, json=put)  # the add, once more
        assert (late.status_code, late.json()["stored"], late.json()["deleted"]) == (409, None, gone)
        assert served.folder.masks(photo) == []
        restored = page.put(path, json={**changed, "revision": gone}).json()
        assert restored["runs"] == square(side=20)


def test_a_commit_is_sent_again_with_a_handle_that_is_gone(serve):
    served = serve()
    with served.page() as page:
        photo = page.post("/api/next", json={}).json()["photo"]["id"]
        first = answer_of(click(page, photo, (20.0, 30.0, 1)))[0]["candidates"][0]
        name = str(uuid.uuid4())
        saved = commit(page, photo, name, handle=first["handle"]).json()
        assert commit(page, photo, name, handle="gone").json() == saved
        again = {"runs": saved["runs"], "source": "clicks", "prompts": saved["prompts"]}
        scores = {"predicted_iou": saved["predicted_iou"], "stability_score": saved["stability_score"]}
        other = page.put(f"/api/photos/{photo}/masks/{uuid.uuid4()}", json=again | scores).json()
        assert {**other, "uuid": name} == saved, "the model's mask by its runs, where its logits are lost"
        half = page.put(f"/api/photos/{photo}/masks/{uuid.uuid4()}", json=again | {"predicted_iou": 0.5})
        assert half.status_code == 400
        assert "stability_score" in half.json()["error"]


def test_proposals_one_by_one_and_above_a_bound(serve):
    served = serve(mode=QueueMode.REVIEW, proposals=[proposal(0, 0.95), proposal(1, 0.9), proposal(2, 0.7)])
    with served.page() as page:
        opened = page.post("/api/next", json={}).json()
        photo, lease = opened["photo"]["id"], opened["lease"]["number"]
        assert [one["state"] for one in opened["proposals"]] == ["open"] * 3
        path = f"/api/photos/{photo}/proposals"

        def states(answer):
            return [(one["state"], one["revision"]) for one in answer.json()["states"].values()]

        rejected = page.put(f"{path}/1", json={"state": "rejected", "lease": lease})
        assert rejected.json()["accepted"] == []
        assert states(rejected) == [("open", 0), ("rejected", 1), ("open", 0)]
        above = page.put(path, json={"accepted": {"0": 0}, "lease": lease})
        assert states(above) == [("accepted", 1), ("rejected", 1), ("open", 0)]
        assert [mask["runs"] for mask in above.json()["accepted"]] == [square()]
        undone = page.put(f"{path}/0", json={"state": "open", "revision": 1, "lease": lease})
        assert states(undone)[0] == ("open", 2)
        late = page.put(path, json={"accepted": {"0": 0, "2": 0}, "lease": lease})
        assert late.status_code == 409
        assert states(late) == states(undone)
        assert "is open at revision 2, set by ann; this was made from revision 0" in late.json()["error"]
        assert served.folder.masks(photo) == []


def test_prefilled_masks_are_there_and_another_person_judges_them(serve):
    served = serve(mode=QueueMode.PREFILL, proposals=[proposal(0, 0.95)])
    with served.page() as page:
        opened = page.post("/api/next", json={}).json()
        (mask,) = opened["masks"]
        assert mask["source"] == "proposal"
        verdict = {"verdict": "yes", "lease": opened["lease"]["number"]}
        own = page.put(f"/api/photos/{opened['photo']['id']}/verdicts/{mask['uuid']}", json=verdict)
        assert own.status_code == 403, "nobody judges their own mask"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "/api/photos/x1/predict", {}, 400, "not a photo's id: give an integer"),
        ("POST", "/api/photos/99/predict", {"points": [[1, 1]], "labels": [1]}, 404, "no photo with the id 99"),
        ("POST", "/api/photos/{id}/predict", {}, 400, "there is no prompt"),
        ("POST", "/api/photos/{id}/predict", {"points": [[900, 1]], "labels": [1]}, 400, "900"),
        ("PUT", "/api/photos/{id}/masks/me", {"runs": {}, "source": "brush"}, 400, "UUID4"),
        ("PUT", "/api/photos/{id}/masks/{uuid}", {"source": "brush"}, 400, "give the handle of a candidate, or runs"),
        ("PUT", "/api/photos/{id}/masks/{uuid}", {"handle": "gone", "source": "clicks"}, 400, "click again"),
        (
            "PUT",
            "/api/photos/{id}/masks/{uuid}",
            {"source": "brush", "runs": {"size": [9, 9], "counts": "1"}},
            400,
            "the photo's is [48, 70]",
        ),
        ("POST", "/api/photos/{id}/done", {"lease": 10**6}, 409, "has ended"),
        ("POST", "/api/photos/{id}/alive", {"lease": "1"}, 400, "lease is '1': give an integer"),
        ("PUT", "/api/photos/{id}/proposals/0", {"state": "maybe"}, 400, "state is 'maybe'"),
        ("PUT", "/api/photos/{id}/proposals/-1", {"state": "open"}, 400, "give an integer"),
        ("PUT", "/api/photos/{id}/proposals/0", {"state": "open", "revision": "1"}, 400, "revision is '1'"),
        ("PUT", "/api/photos/{id}/proposals", {"accepted": [0]}, 400, "give the revision of each proposal"),
        ("PUT", "/api/photos/{id}/proposals", {"accepted": {"x": 0}}, 400, "give the revision of each proposal"),
        ("POST", "/api/next", [1], 400, "no JSON object"),
    ],
)
def test_what_cannot_be_is_a_sentence(serve, method, path, body, status, sentence):
    served = serve()
    with served.page() as page:
        photo = page.post("/api/next", json={}).json()["photo"]["id"]
        path = path.replace("{id}", str(photo)).replace("{uuid}", str(uuid.uuid4()))
        response = page.request(method, path, json=body)
        assert response.status_code == status, response.text
        assert sentence in response.json()["error"]
        assert not list(served.folder.path.glob("sa_*"))


def test_strangers_are_refused(serve):
    served = serve()
    page = served.page()
    assert page.get("/api/session", headers={"Host": "evil.example"}).status_code == 403
    assert page.get("/api/session", headers={"Origin": "http://evil.example"}).status_code == 403
    assert page.get("/api/session", headers={"Origin": f"http://{HOST}"}).status_code == 200
    assert page.get("/api/session").headers["content-security-policy"].startswith("default-src")
    assert served.page(annotator="").post("/api/next", json={}).status_code == 400
    large = page.post("/api/next", content=b" " * (LARGEST_BODY + 1))
    assert large.status_code == 413

    def endless():
        for _ in range(LARGEST_BODY // 2**16 + 2):
            yield b" " * 2**16

    assert page.post("/api/next", content=endless()).status_code == 413, "a body that does not say its size"


def test_with_a_token_pages_must_have_it(serve):
    served = serve(token="secret")
    assert served.page().get("/").status_code == 200
    for given in ({}, {"Authorization": "Bearer wrong"}):
        response = served.page(**given).get("/api/session", headers={"Host": "lab.example:8117"})
        assert response.status_code == 403
        assert "token" in response.json()["error"]
    page = served.page(Authorization="Bearer secret")
    assert page.get("/api/session", headers={"Host": "lab.example:8117"}).status_code == 200


def test_the_page_and_its_modules_are_there(serve):
    page = serve().page()
    text = page.get("/").text
    assert "/static/main.js" in text
    module = page.get("/static/main.js")
    assert module.status_code == 200
    assert module.headers["cache-control"] == "no-cache"
    again = page.get("/static/main.js", headers={"If-None-Match": module.headers["etag"]})
    assert again.status_code == 304
    assert page.get("/static/../routes.py").status_code == 404


def test_a_full_disk_is_told_and_nothing_is_lost(serve, monkeypatch):
    from samjax.annotate import state_files

    served = serve()
    with served.page() as page:
        photo = page.post("/api/next", json={}).json()["photo"]["id"]

        def full(*_):
            raise OSError(28, "No space left on device")

        path = f"/api/photos/{photo}/masks/{uuid.uuid4()}"
        put = {"runs": square(), "source": "brush", "prompts": None}
        with monkeypatch.context() as patch:
            patch.setattr(state_files, "write_whole", full)
            failed = page.put(path, json=put)
        assert failed.status_code in (500, 507)
        assert page.put(path, json=put).json()["revision"] == 1
        assert len(served.folder.masks(photo)) == 1


def test_newer_requests_replace_older_ones(serve):
    """Each answer is either the newest one's or says that it was superseded."""
    served = serve()
    with served.page() as page:
        photo = page.post("/api/next", json={}).json()["photo"]["id"]
        click(page, photo, (5.0, 5.0, 1))

        def ask(generation):
            return click(page, photo, (5.0 + generation, 5.0, 1), generation=generation)

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(12)))
        assert any(one.status_code == 200 for one in answers)
        assert {one.status_code for one in answers} <= {200, 409}
        assert all(one.json()["superseded"] for one in answers if one.status_code == 409)
