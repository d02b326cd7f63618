"""Proposals, review and verification; keys alone; what is shown and what is asked of the network."""

import re

import numpy as np
import pytest
from disc_photo import DiscPhoto, disc, proposal_uuid, stored_mask

from samjax.data.masks.rle import encode

pytestmark = pytest.mark.browser

PLACES = [(60, 60, 0.95), (160, 60, 0.9), (260, 60, 0.6)]


@pytest.fixture
def proposed():
    """A photo with three proposals, and another one."""
    proposals = [(disc(240, 320, x, y, 20), iou) for x, y, iou in PLACES]
    return [DiscPhoto(1, proposals=proposals), DiscPhoto(2)]


def states(server):
    return [proposal["state"] for proposal in server.photos[1].proposals]


def test_review_accepts_rejects_and_opens(serve, browse, proposed):
    server = serve(proposed, mode="review")
    page = browse(server)
    page.click(60, 60)
    page.wait(lambda: states(server) == ["accepted", "open", "open"])
    page.click(160, 60, button="right")
    page.wait(lambda: states(server) == ["accepted", "rejected", "open"])
    page.wait_saved()
    (mask,) = page.masks
    assert mask["source"] == "proposal"
    page.click(60, 60)  # accepted: opens it with clicks
    page.wait_draft(60, 60)
    page.click(100, 60)
    page.wait_draft(115, 60)
    page.press("Enter")
    page.wait(lambda: states(server) == ["changed", "rejected", "open"])
    page.wait_saved()
    assert [(one["uuid"], one["source"]) for one in page.masks] == [(mask["uuid"], "changed")]
    page.click(160, 180)  # beside all proposals a click is a click
    page.wait_draft(160, 180)
    page.press("Escape", *["Control+z"] * 7)
    page.wait(lambda: states(server) == ["open"] * 3 and page.masks == [])


def test_an_open_proposal_that_is_changed_is_its_own_mask(serve, browse, proposed):
    server = serve(proposed, mode="review")
    page = browse(server)
    page.move(160, 60)
    page.press("r")
    page.wait_draft(160, 60)
    page.press("Delete")
    page.wait(lambda: states(server) == ["open", "rejected", "open"])
    page.press("Control+z")
    page.wait_draft(160, 60)
    page.click(200, 60)
    page.wait_draft(215, 60)
    page.press("Enter")
    page.wait(lambda: states(server) == ["open", "changed", "open"])
    page.wait_saved()
    assert [(one["uuid"], one["source"]) for one in page.masks] == [(proposal_uuid(1), "changed")]


def test_accepting_above_the_slider_is_one_act(serve, browse, proposed):
    server = serve(proposed, mode="review")
    page = browse(server)
    page.wait(lambda: page.text("#proposals button") == "Accept 2")
    page.page.fill("#proposals input", "0.5")
    page.wait(lambda: page.text("#proposals button") == "Accept 3")
    page.page.fill("#proposals input", "0.9")
    page.page.click("#proposals button")
    page.wait(lambda: states(server) == ["accepted", "accepted", "open"])
    page.wait_saved()
    assert len(page.masks) == 2
    assert len(server.requests("PUT", "proposals")) == 1
    page.press("Control+z")
    page.wait(lambda: states(server) == ["open"] * 3 and page.masks == [])
    page.press("Control+Shift+z")
    page.wait(lambda: states(server) == ["accepted", "accepted", "open"] and len(page.masks) == 2)


def test_prefilled_masks_are_grey_and_stay_until_opened(serve, browse):
    photo = DiscPhoto(1)
    uuid = "00000000-0000-4000-8000-000000000001"
    prompts = {"points": [], "labels": [], "box": None}
    runs = encode(disc(240, 320, 100, 100, 30))
    photo.masks[uuid] = stored_mask(uuid, runs, "proposal", "model", 0.95, prompts)
    page = browse(serve([photo], mode="prefill"))
    red, green, blue, _ = page.colour("masks", 100, 100)
    assert max(red, green, blue) - min(red, green, blue) < 16
    page.make(220, 150)
    red, green, blue, _ = page.colour("masks", 220, 150)
    assert max(red, green, blue) - min(red, green, blue) > 60
    page.click(100, 100)  # locked: a click begins another mask
    page.wait_draft(100, 100)
    page.press("Escape", "r")
    page.wait_draft(100, 125)
    page.click(150, 100)
    page.wait_draft(165, 100)
    page.press("Enter")
    page.wait(lambda: page.masks[0]["source"] == "changed")


def test_verify(serve, browse):
    photo = DiscPhoto(1)
    for place, (x, y, iou) in enumerate(PLACES):
        uuid = f"00000000-0000-4000-8000-00000000000{place}"
        runs = encode(disc(240, 320, x, y, 20))
        prompts = {"points": [], "labels": [], "box": None}
        photo.masks[uuid] = stored_mask(uuid, runs, "clicks", "bob", iou, prompts)
    page = browse(serve([photo], mode="verify"))
    page.press("y", "x")
    page.page.click("#verify [data-verdict=redo]")
    page.wait(lambda: list(photo.verdicts.values()) == ["yes", "no", "redo"])
    page.press("Control+z", "u")
    page.wait(lambda: list(photo.verdicts.values()) == ["yes", "no", "redo"])
    page.click(60, 60)
    page.press("x")
    page.wait(lambda: list(photo.verdicts.values()) == ["no", "no", "redo"])
    assert len(photo.masks) == 3


@pytest.mark.parametrize("mode", ["verify", "manual"])
def test_masks_to_be_redone_are_shown_and_are_judged_anew(serve, browse, mode):
    photo = DiscPhoto(1)
    names = [proposal_uuid(place) for place in range(3)]
    for uuid, (x, y, iou), verdict in zip(names, PLACES, ("yes", "redo", "redo"), strict=True):
        runs, prompts = encode(disc(240, 320, x, y, 20)), {"points": [], "labels": [], "box": None}
        photo.masks[uuid] = stored_mask(uuid, runs, "clicks", "bob", iou, prompts)
        photo.verdicts[uuid] = verdict
    server = serve([photo], mode=mode)
    page = browse(server)
    about, count = "#masks .about", "#masks .count"
    page.wait(lambda: page.text(count) == "3, 2 to redo")
    assert page.text(about).startswith("To be redone: R opens it")
    away = [np.abs(np.subtract(page.colour("masks", x, y)[:3], (255, 181, 71))).max() for x, y, _ in PLACES]
    assert [one < 8 for one in away] == [False, True, True], "amber"
    page.press("r")  # the first of them is selected
    page.wait_draft(160, 60)
    page.click(190, 60)
    page.wait_draft(205, 60)
    page.press("Enter")
    page.wait_saved()
    assert (photo.masks[names[1]]["annotator"], photo.masks[names[1]]["revision"]) == ("ann", 2)
    assert photo.verdicts == {names[0]: "yes", names[2]: "redo"}
    page.wait(lambda: page.text(count) == "3, 1 to redo")
    assert page.text(about).startswith("To be redone")  # the next
    page.press("Control+z")
    page.wait(lambda: photo.masks[names[1]]["revision"] == 3)
    page.wait_saved()
    assert page.text(count) == "3, 1 to redo"  # changed and changed back: another person judges it anew
    assert server.requests("PUT", "verdicts") == []


def test_keys_alone(serve, browse):
    """A photo from the name to the next photo without a mouse."""
    server = serve()
    page = browse(server)
    page.press("Shift+ArrowLeft", "Shift+ArrowLeft", "ArrowUp", ".")
    page.wait(lambda: page.page.locator("#candidates button:enabled").count() == 3)
    page.press("Tab", "Enter")
    page.wait_saved()
    (mask,) = page.masks
    assert mask["predicted_iou"] == 0.9
    page.press(*["Shift+ArrowDown"] * 6, "g", *["Shift+ArrowRight"] * 4, *["Shift+ArrowDown"] * 3, "g")
    page.wait(lambda: page.page.locator("#candidates button:enabled").count() == 3)
    page.press("Enter")
    page.wait_saved()
    assert page.masks[1]["source"] == "box"
    page.press("j", "Delete")
    page.wait(lambda: [one["source"] for one in page.masks] == ["box"])
    page.press("b", ".", "f")
    page.wait(lambda: [one["source"] for one in page.masks] == ["box", "brush"])
    page.press("n")
    page.wait_open("sa_2.jpg")


def test_help_lists_every_key(serve, browse):
    page = browse(serve())
    page.press("?")
    help_text = page.text("#help")
    for words in ("Left click", "Undo", "Eraser", "Commit", "Skip", "Outlines only", "A corner of a box"):
        assert words in help_text
    visible = page.page.evaluate(
        """() => [...document.querySelectorAll('#help dd')].every((row) => {
          const [inner, outer] = [row, document.querySelector('#help')].map((part) => part.getBoundingClientRect());
          return inner.left >= outer.left && inner.right <= outer.right;
        })"""
    )
    assert visible
    page.press("Escape")
    page.page.wait_for_selector("#help", state="hidden")


def test_hide_and_outlines(serve, browse):
    page = browse(serve())
    page.make(100, 100)
    page.press("o")
    page.wait(lambda: not page.inside("masks", 100, 100))
    assert any(page.row("masks", 100, range(70, 131)))
    page.press("o", "h")
    page.wait(lambda: not any(page.row("masks", 100, range(70, 131))))
    page.press("h")
    page.wait(lambda: page.inside("masks", 100, 100))


def test_outlines_are_as_wide_at_any_zoom(serve, browse):
    page = browse(serve())
    page.make(100, 100)
    page.move(100, 100)
    widths = []
    for _ in range(2):
        page.page.wait_for_timeout(200)
        line = page.page.evaluate(
            """() => {
              const {scale, y} = document.querySelector('#stage').dataset;
              const canvas = document.querySelector('canvas[data-layer=masks]');
              const at = Math.floor(Number(y) + 100.5 * scale);
              const data = canvas.getContext('2d').getImageData(0, at, canvas.width, 1).data;
              return [...data].filter((_, i) => i % 4 === 3);
            }"""
        )
        alphas = np.array(line)
        start = np.flatnonzero(alphas)[0]
        widths.append(list(alphas[start : start + 3]))
        page.press("+", "+", "+")
    assert widths[0] == widths[1]
    assert widths[0][0] == 255
    assert 255 > widths[0][1] > widths[0][2]


def test_wheel_zooms_about_the_cursor_and_space_drags(serve, browse):
    page = browse(serve())
    page.move(100, 100)
    before = page.place(100, 100)
    page.page.mouse.wheel(0, -400)
    page.page.wait_for_timeout(100)
    after = page.place(100, 100)
    assert np.abs(np.subtract(before, after)).max() < 4
    page.wait(lambda: page.text("#zoom") != "296%")
    page.page.keyboard.down(" ")
    page.drag((100, 100), (120, 110))
    page.page.keyboard.up(" ")
    moved = page.place(100, 100)
    assert moved[0] - after[0] > 50
    assert page.server.requests("POST", "predict") == [
        body for body in page.server.requests("POST", "predict") if body["hover"]
    ]
    page.press("0")
    page.page.wait_for_timeout(100)
    page.wait(lambda: page.text("#zoom") == "296%")


def test_clock_turns_amber(serve, browse):
    server = serve()
    page = browse(server)
    page.page.clock.install()
    page.page.reload()
    page.wait_open()
    page.page.clock.run_for(20_000)
    assert page.page.get_attribute("#clock", "data-late") == "false"
    page.page.clock.run_for(11_000)
    assert page.page.get_attribute("#clock", "data-late") == "true"
    page.wait(lambda: "next photo" in page.text("#note"))


def test_a_thousand_masks(serve, browse):
    photo = DiscPhoto(1, 1500, 1000)
    prompts = {"points": [], "labels": [], "box": None}
    for place in range(1000):
        uuid = f"00000000-0000-4000-8000-{place:012d}"
        runs = encode(disc(1000, 1500, 15 + place % 50 * 30, 15 + place // 50 * 48, 18))
        photo.masks[uuid] = stored_mask(uuid, runs, "clicks", "bob", 0.9, prompts)
    page = browse(serve([photo]))
    page.wait(lambda: page.text("#count") == "1000 masks")
    page.make(700, 500)
    page.wait(lambda: page.text("#count") == "1001 masks")
    page.press("Control+z", "Control+z")
    page.wait(lambda: page.text("#count") == "1000 masks")
    assert page.page.locator("#masks button").count() == 1000


def test_nothing_is_loaded_from_outside(serve, browse, chromium):
    server = serve()
    page = browse(server)
    addresses = []
    page.page.on("request", lambda request: addresses.append(request.url))
    page.page.reload()
    page.wait_open()
    page.make(100, 100)
    assert len(addresses) > 20
    assert all(re.match(rf"(http://127\.0\.0\.1:{server.port}/|data:|blob:)", url) for url in addresses)
    assert page.page.context.cookies() == []


def test_motion_is_reduced_where_asked(serve, browse):
    for motion, still in (("no-preference", False), ("reduce", True)):
        page = browse(serve(), reduced_motion=motion)
        duration = page.page.evaluate("getComputedStyle(document.querySelector('#tools button')).transitionProperty")
        assert (duration == "none") is still
