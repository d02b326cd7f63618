"""Clicks, boxes, candidates, brush and undo, in a browser, against a model that answers discs."""

import numpy as np
import pytest
from disc_photo import DiscPhoto, decode, upscale

pytestmark = pytest.mark.browser

FITTING = range(60, 141)


def expected_disc(x, y, place=0):
    """Return the mask that the model's answer to a click is at the photo's size."""
    photo = DiscPhoto(1)
    logits = photo.answer({"points": [[x, y]], "labels": [1], "box": None})[place]
    return upscale(logits, photo.grid[2], photo.height, photo.width) > 0


def test_what_went_into_a_mask_is_told_with_it(serve, browse):
    """The first prompt, a box, a stroke, an undo, and each answer of the model; nothing of the mask before."""
    server = serve()
    page = browse(server)
    page.make(60, 60)
    page.drag((140, 60), (200, 120))
    page.wait_draft(170, 90)
    page.click(230, 90)
    page.wait_draft(245, 90)
    page.press("Control+z", "b")
    page.drag((240, 150), (260, 150))
    page.press("Enter")
    page.wait_saved()
    first, second = (body["effort"] for body in server.requests("PUT", "masks"))
    assert (first["boxes"], first["strokes"], first["undos"], first["decode_ms"]) == (0, 0, 0, [1.0])
    assert (second["boxes"], second["strokes"], second["undos"]) == (1, 1, 1)
    assert second["decode_ms"] == [1.0, 1.0]
    assert 0 < second["first_seconds"] < server.requests("PUT", "masks")[1]["seconds"]


def test_click_candidate_commit(serve, browse):
    server = serve()
    page = browse(server)
    page.click(100, 100)
    page.wait_draft(100, 100)
    assert [page.inside("draft", x, 100) for x in (100 + 20, 100 + 28)] == [True, False]
    assert page.page.locator("#candidates .iou").all_inner_texts() == ["0.95", "0.90", "0.85"]
    page.press("Tab")
    page.wait_draft(100 + 36, 100)
    page.press("3")
    page.wait_draft(100 + 55, 100)
    page.press("1")
    page.wait_draft(100 + 36, 100, inside=False)
    page.press("2", "Enter")
    page.wait_saved()
    (mask,) = page.masks
    assert (decode(mask["runs"]) == expected_disc(100, 100, 1)).all()
    assert mask["source"] == "clicks"
    assert mask["annotator"] == "ann"
    assert mask["predicted_iou"] == 0.9
    assert mask["prompts"] == {"points": [[100, 100]], "labels": [1], "box": None}
    (body,) = server.requests("PUT", "masks")
    assert body["clicks"] == 1
    assert 0 < body["active_seconds"] <= body["seconds"] < 60
    assert not page.inside("draft", 100, 100)
    assert page.text("#count") == "1 mask"


@pytest.mark.parametrize(("zoom", "ratio"), [(0, 1), (5, 1), (0, 2), (5, 2), (-5, 1)])
def test_screen_shows_the_stored_pixels(serve, browse, zoom, ratio):
    """At every zoom, a pixel of the photo is coloured where and only where the stored mask has it."""
    page = browse(serve(), device_scale_factor=ratio)
    page.make(100, 100)
    page.move(100, 100)
    page.press(*["+" if zoom > 0 else "-"] * abs(zoom))
    page.page.wait_for_timeout(400)
    mask = decode(page.masks[0]["runs"])
    for y in (80, 95, 100, 120):
        shown = np.array(page.row("masks", y, FITTING)) > 0
        assert (shown == mask[y, FITTING]).all(), y


def test_right_click_takes_away_and_goes_on_from_the_chosen_logits(serve, browse):
    server = serve()
    page = browse(server)
    page.click(100, 100)
    page.wait_draft(100, 100)
    page.press("2")
    page.click(125, 100, button="right")
    page.wait_draft(125, 100, inside=False)
    assert page.inside("draft", 100, 100)
    first, *_, second = server.requests("POST", "predict")
    assert (first["points"], first["labels"], first["previous"]) == ([[100, 100]], [1], None)
    assert (second["hover"], second["labels"]) == (False, [1, 0])
    assert server.handles[second["previous"]][1] == 0.9
    assert second["generation"] > first["generation"]


def test_a_click_shows_the_preview_that_is_there(serve, browse):
    server = serve()
    page = browse(server)
    page.move(100, 100)
    page.wait(lambda: page.inside("draft", 100, 100))  # the preview
    page.click(100, 100)
    page.wait(lambda: page.page.locator("#candidates button:enabled").count() == 3)
    page.press("Enter")
    page.wait_saved()
    assert [body["hover"] for body in server.requests("POST", "predict") if body["points"] == [[100, 100]]] == [True]
    (mask,) = page.masks
    assert (mask["source"], mask["prompts"]["points"], mask["predicted_iou"]) == ("clicks", [[100, 100]], 0.95)


def test_click_on_a_point_removes_it(serve, browse):
    server = serve()
    page = browse(server)
    page.click(100, 100)
    page.wait_draft(100, 100)
    page.click(160, 100)
    page.wait_draft(160, 100)
    page.click(100, 100)
    page.wait_draft(100, 100, inside=False)
    assert page.inside("draft", 160, 100)
    assert server.requests("POST", "predict")[-1]["previous"] is None
    page.click(160, 100)
    page.move(300, 230)
    page.wait_draft(160, 100, inside=False)


def test_drag_draws_a_box(serve, browse):
    page = browse(serve())
    page.drag((60, 60), (140, 120))
    page.wait_draft(100, 90)
    page.press("f")
    page.wait_saved()
    (mask,) = page.masks
    assert (mask["source"], mask["prompts"]["box"], mask["prompts"]["points"]) == ("box", [60, 60, 140, 120], [])


def test_undo_and_redo_over_everything(serve, browse):
    page = browse(serve())
    page.make(100, 100)
    page.make(220, 150)
    first, second = page.masks
    page.move(100, 100)
    page.press("Delete")
    page.wait(lambda: page.masks == [second])
    page.press("Control+z")
    page.wait(lambda: len(page.masks) == 2)
    assert {mask["uuid"] for mask in page.masks} == {first["uuid"], second["uuid"]}
    page.press("Control+z")  # the second commit: its draft is back, and the server has it no more
    page.wait(lambda: [mask["uuid"] for mask in page.masks] == [first["uuid"]])
    page.wait_draft(220, 150)
    page.press("Control+z")  # its click
    page.wait_draft(220, 150, inside=False)
    page.press("Control+z", "Control+z")
    page.wait(lambda: page.masks == [])
    page.wait(page.page.locator("#tools [aria-label=Undo]").is_disabled)
    page.press(*["Control+Shift+z"] * 4)
    page.wait(lambda: len(page.masks) == 2)
    assert {mask["uuid"] for mask in page.masks} == {first["uuid"], second["uuid"]}
    assert {mask["runs"]["counts"] for mask in page.masks} == {first["runs"]["counts"], second["runs"]["counts"]}


def test_a_late_answer_never_undoes_an_undo(serve, browse):
    server = serve()
    page = browse(server)
    server.delay = 0.5
    page.click(100, 100)
    page.press("Control+z")
    page.move(300, 230)
    page.page.wait_for_timeout(900)
    assert not page.inside("draft", 100, 100)
    page.press("Control+Shift+z")
    page.wait_draft(100, 100)


def test_the_stage_is_busy_until_the_answer_is_drawn(serve, browse):
    server = serve()
    page = browse(server)
    server.delay = 0.4

    def busy():
        return page.page.locator("#stage").get_attribute("aria-busy")

    assert busy() == "false"
    page.click(100, 100)
    page.wait(lambda: busy() == "true")
    assert not page.inside("draft", 100, 100)
    page.wait(lambda: busy() == "false")
    assert page.inside("draft", 100, 100)


def test_a_commit_may_come_before_its_answer(serve, browse):
    server = serve()
    page = browse(server)
    server.delay = 0.4
    page.click(100, 100)
    page.press("Enter")
    page.wait(lambda: len(page.masks) == 1)


def test_hover_previews_with_one_request_at_a_time(serve, browse):
    server = serve()
    page = browse(server)
    server.delay = 0.1
    for x in range(40, 280, 6):
        page.move(x, 100)
        page.page.wait_for_timeout(10)

    def hovers():
        return [body["points"] for body in server.requests("POST", "predict") if body["hover"]]

    page.wait(lambda: hovers()[-1] == [[274, 100]])
    page.wait_draft(274, 100)
    assert server.most_hovers == 1
    assert 2 <= len(hovers()) < 40
    page.page.mouse.move(10, 10)
    page.wait_draft(274, 100, inside=False)
    assert page.masks == []


def test_brush_and_eraser(serve, browse):
    server = serve()
    page = browse(server)
    page.click(100, 100)
    page.wait_draft(100, 100)
    page.press("b")
    page.drag((100, 100), (180, 100))
    assert page.inside("draft", 180, 100)
    page.press("e")
    page.drag((85, 100), (85, 100))
    assert not page.inside("draft", 85, 100)
    page.press("Control+z")
    page.wait_draft(85, 100)
    page.press("Control+Shift+z")
    page.wait_draft(85, 100, inside=False)
    page.press("v")
    page.click(100, 130)  # the model's mask changes beneath, the strokes stay
    page.wait_draft(100, 140)
    assert page.inside("draft", 180, 100)
    assert not page.inside("draft", 85, 100)
    page.press("Enter")
    page.wait_saved()
    (mask,) = page.masks
    assert mask["source"] == "brush"
    stored = decode(mask["runs"])
    assert stored[100, 180]
    assert not stored[100, 85]
    assert stored[140, 100]
    columns = range(60, 200)
    page.move(300, 230)
    shown = np.array(page.row("masks", 100, columns)) > 0
    assert (shown == stored[100, columns]).all()


def test_brush_alone_makes_a_mask_and_its_size_changes(serve, browse):
    page = browse(serve())
    page.press("b")
    areas = []
    for place in (60, 180):
        page.drag((place, 60), (place, 60))
        page.press("Enter")
        page.wait_saved()
        areas.append(decode(page.masks[-1]["runs"]).sum())
        page.press("]", "]", "]")
    assert [mask["source"] for mask in page.masks] == ["brush", "brush"]
    assert areas[1] > 3 * areas[0]


def test_a_mask_opens_again_with_its_prompts(serve, browse):
    server = serve()
    page = browse(server)
    page.make(100, 100)
    (mask,) = page.masks
    page.move(110, 100)
    page.press("r")
    page.wait_draft(110, 100)
    assert not page.inside("masks", 110, 100)
    page.press("Escape")
    page.wait(lambda: page.inside("masks", 110, 100))
    page.press("r")
    page.click(150, 100)
    page.wait_draft(165, 100)
    page.press("Enter")
    page.wait(lambda: page.masks[0]["revision"] == 2)
    assert page.masks[0]["uuid"] == mask["uuid"]
    assert page.masks[0]["prompts"]["points"] == [[100, 100], [150, 100]]
    page.press("Control+z", "Control+z", "Control+z")
    page.wait(lambda: page.masks[0]["runs"] == mask["runs"])


def test_smallest_mask(serve, browse):
    page = browse(serve())
    page.press("b", *["["] * 12)
    page.drag((60, 60), (60, 60))
    page.press("Enter")
    page.page.wait_for_selector("#notices p:has-text('at least 10 pixels')")
    assert page.masks == []


def test_masks_overlap_and_the_smallest_is_on_top(serve, browse):
    page = browse(serve())
    page.click(100, 100)
    page.wait_draft(100, 100)
    page.press("3", "Enter")
    page.wait_saved()
    page.make(105, 100)
    large, small = page.masks
    assert decode(large["runs"])[100, 105]
    assert decode(small["runs"])[100, 105]
    page.click(105, 100, modifiers=["Shift"])
    assert page.page.locator("#masks [aria-selected=true]").get_attribute("title").startswith("Mask 2")
    page.press("Delete")
    page.wait(lambda: page.masks == [large])
    assert page.inside("masks", 105, 100)
