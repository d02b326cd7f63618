"""Nothing is lost: reloads, lines that are down, servers that die, several people."""

import pytest
from disc_photo import RADII, DiscPhoto, decode, disc

pytestmark = pytest.mark.browser


def says_unsaved(page, count):
    page.wait(lambda: page.says() == f"Not saved: {count}")


def test_reload_shows_what_is_stored(serve, browse):
    page = browse(serve())
    page.make(100, 100)
    page.make(220, 150)
    before = [page.colour("masks", x, y) for x, y in ((100, 100), (220, 150))]
    assert before[0] != before[1]
    page.page.reload()
    page.wait_open()
    page.wait(lambda: [page.colour("masks", x, y) for x, y in ((100, 100), (220, 150))] == before)
    assert page.text("#count") == "2 masks"


def test_offline_in_mid_commit(serve, browse):
    server = serve()
    page = browse(server)
    page.click(100, 100)
    page.wait_draft(100, 100)
    page.page.context.set_offline(True)
    page.press("Enter")
    says_unsaved(page, 1)
    assert "cannot be reached" in page.text("#note")
    assert page.inside("masks", 100, 100)
    assert page.masks == []
    assert len(page.unsaved_records()) == 1
    page.press("n")
    page.page.wait_for_selector("#notices p:has-text('stays until')")
    page.page.context.set_offline(False)
    page.wait_saved()
    assert len(page.masks) == 1
    assert page.unsaved_records() == []


def test_undo_while_offline_sends_nothing(serve, browse):
    server = serve()
    page = browse(server)
    page.click(100, 100)
    page.wait_draft(100, 100)
    server.stop()
    page.press("Enter")
    says_unsaved(page, 1)
    page.press("Control+z")
    page.press("Escape")
    server.start()
    page.wait_saved()
    assert page.masks == []


def test_an_answer_that_is_lost_adds_nothing_twice(serve, browse):
    server = serve()
    page = browse(server)
    losses = []

    def lose(method, path, body):
        if method == "PUT" and len(losses) < 2:
            losses.append(path)
            server.put(server.photos[1], path.split("/")[-1], body, "ann")
            from starlette.responses import JSONResponse

            return JSONResponse({"error": "The disk is full"}, 507 if len(losses) == 2 else 503)
        return None

    server.fault = lose
    page.make(100, 100)
    assert len(losses) == 2
    assert len(page.masks) == 1
    assert page.masks[0]["revision"] == 1


def test_server_killed_and_back(serve, browse):
    """Handles die with it: the mask comes as runs, and the next click asks without the lost logits."""
    server = serve()
    page = browse(server)
    page.click(100, 100)
    page.wait_draft(100, 100)
    server.stop()
    page.press("Enter")
    says_unsaved(page, 1)
    page.click(220, 150)
    page.page.wait_for_timeout(300)
    server.start()
    page.wait_saved()
    page.wait_draft(220, 150)
    (mask,) = page.masks
    stored = decode(mask["runs"])
    expected = disc(240, 320, 100, 100, int(RADII[0]))
    assert (stored & expected).sum() / (stored | expected).sum() > 0.95
    assert mask["predicted_iou"] == 0.95
    server.handles.clear()
    page.click(240, 150)
    page.wait_draft(258, 150)


def test_closed_in_mid_commit_with_the_server_dead(serve, browse):
    server = serve()
    page = browse(server)
    page.make(60, 60)
    page.click(100, 100)
    page.wait_draft(100, 100)
    server.stop()
    page.press("Enter")
    says_unsaved(page, 1)
    context = page.page.context
    page.page.close(run_before_unload=False)
    server.start()
    page.page = context.new_page()
    # Another tab may still be at it, as far as this one knows: only what is half a minute old is taken over.
    context.add_init_script("const now = Date.now; Date.now = () => now() + 60_000")
    page.goto()
    page.wait(lambda: len(page.masks) == 2)
    page.wait(lambda: page.text("#count") == "2 masks")
    page.wait(lambda: page.unsaved_records() == [])


def test_a_refusal_is_told_and_the_mask_stays(serve, browse):
    server = serve()
    page = browse(server)
    from starlette.responses import JSONResponse

    server.fault = lambda method, *_: JSONResponse({"error": "The body is too large"}, 413) if method == "PUT" else None
    page.click(100, 100)
    page.wait_draft(100, 100)
    page.press("Enter")
    says_unsaved(page, 1)
    assert page.text("#note") == "The body is too large"
    assert page.inside("masks", 100, 100)
    server.fault = None
    page.page.click("#saved")
    page.wait_saved()
    assert len(page.masks) == 1


def test_another_person_sits_down(serve, browse):
    server = serve()
    page = browse(server)
    page.make(100, 100)
    page.page.click("#who")
    page.page.wait_for_selector("#name input")
    page.page.fill("#name input", "Zoë 2")
    page.press("Enter")
    page.wait_open("sa_2.jpg")  # the first photo is still with ann
    page.make(100, 100)
    assert [mask["annotator"] for photo in server.photos.values() for mask in photo.masks.values()] == ["ann", "Zoë 2"]


def test_two_people_have_two_photos(serve, browse):
    server = serve()
    ann, bob = browse(server), browse(server, name="bob")
    assert (ann.text("#photo-name"), bob.text("#photo-name")) == ("sa_1.jpg", "sa_2.jpg")
    ann.make(100, 100)
    bob.make(100, 100)
    assert [mask["annotator"] for photo in server.photos.values() for mask in photo.masks.values()] == ["ann", "bob"]


@pytest.mark.parametrize(("choice", "masks"), [("Keep both", 2), ("Keep bob's", 1), ("Keep yours", 1)])
def test_two_pages_change_one_mask(serve, browse, choice, masks):
    server = serve([DiscPhoto(1)])
    ann = browse(server)
    ann.make(100, 100)
    server.leases.clear()
    bob = browse(server, name="bob")
    for page, x in ((bob, 130), (ann, 70)):
        page.move(100, 100)
        page.press("r")
        page.wait_draft(100, 100)
        page.click(x, 100)
        page.wait_draft(x, 100)
        page.press("Enter")
        page.wait_saved()
    ann.page.wait_for_selector("#conflict:has-text('bob')")
    assert [mask["annotator"] for mask in ann.masks] == ["bob"]
    assert len(ann.unsaved_records()) == 1
    ann.page.click(f'#conflict button:text-is("{choice}")')
    ann.wait(lambda: len(ann.masks) == masks and (choice != "Keep yours" or ann.masks[0]["annotator"] == "ann"))
    ann.wait_saved()
    found = [decode(mask["runs"]) for mask in ann.masks]
    assert any(mask[100, 145] for mask in found) is (choice != "Keep yours")
    assert any(mask[100, 55] for mask in found) is (choice != "Keep bob's")
    ann.wait(lambda: ann.unsaved_records() == [])


def test_a_deletion_of_what_another_has_changed_brings_it_back(serve, browse):
    server = serve([DiscPhoto(1)])
    ann = browse(server)
    ann.make(100, 100)
    (mask,) = ann.masks
    server.photos[1].masks[mask["uuid"]] = {**mask, "revision": 2, "annotator": "bob"}
    ann.press("Delete")
    ann.page.wait_for_selector("#notices p:has-text('Not deleted')")
    ann.wait(lambda: ann.inside("masks", 100, 100))
    ann.press("Delete")
    ann.wait(lambda: ann.masks == [])


def test_each_second_is_that_of_one_mask(serve, browse):
    """Whatever is changed, undone, redone, and loaded again in between."""
    server = serve()
    page = browse(server)

    def passes(seconds, *keys, x=100):
        page.page.clock.run_for(1000 * seconds)
        if x:
            page.click(x, 100)
            page.wait_draft(x, 100)
        page.press(*keys)
        page.wait_saved()
        return [mask["seconds"] for mask in page.masks]

    page.page.clock.install()
    page.page.reload()
    page.wait_open()
    close = {"abs": 6}  # what the browser takes meanwhile
    assert passes(100, "Enter") == pytest.approx([100], **close)
    page.press("j", "r")
    page.wait_draft(100, 100)
    assert passes(50, "Enter", x=130) == pytest.approx([150], **close)
    page.press("Control+z")
    page.wait_draft(130, 100)
    assert passes(20, x=0) == pytest.approx([100], **close)
    page.press("Control+Shift+z")
    assert passes(20, x=0) == pytest.approx([150], **close)
    assert passes(20, "Enter", x=250) == pytest.approx([150, 60], **close)
    page.page.reload()
    page.wait_open()
    page.press("j", "r")
    page.wait_draft(100, 100)
    assert passes(30, "Enter", x=70) == pytest.approx([180, 60], **close)
    page.press("j", "Delete")
    page.wait(lambda: len(page.masks) == 1)
    page.press("Control+z")
    page.wait(lambda: len(page.masks) == 2)
    assert sorted(mask["seconds"] for mask in page.masks) == pytest.approx([60, 180], **close)


def test_done_next_back_and_the_end(serve, browse):
    server = serve()
    page = browse(server)
    page.make(100, 100)
    page.click(220, 150)
    page.wait_draft(220, 150)
    page.press("n")
    page.page.wait_for_selector("#notices p:has-text('not committed')")
    assert page.text("#photo-name") == "sa_1.jpg"
    page.press("n")
    page.wait_open("sa_2.jpg")
    assert server.done == {1}
    assert page.text("#count") == "0 masks"
    page.press("p")
    page.wait_open("sa_1.jpg")
    assert page.text("#count") == "1 mask"
    page.press("n")
    page.wait_open("sa_2.jpg")
    page.press("n")
    page.page.wait_for_selector("#waiting:has-text('Every photo is done')")
    assert server.done == {1, 2}


def test_lease_is_kept_alive(serve, browse):
    server = serve(lease_seconds=2)
    page = browse(server)
    page.wait(lambda: len(server.requests("POST", "alive")) >= 2)
    assert server.requests("POST", "alive")[0] == {"lease": 1}


def test_token_comes_from_the_address(serve, browse, chromium):
    server = serve(token="secret")
    server.__class__ = type(
        "WithToken", (type(server),), {"address": property(lambda self: f"http://127.0.0.1:{self.port}/#token=secret")}
    )
    page = browse(server)
    assert page.text("#photo-name") == "sa_1.jpg"
