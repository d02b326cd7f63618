"""A click of the annotator from the event to the pixels, in a real browser: ViT-B at 1024, random weights.

    pip install -e '.[browser]'
    python benchmarks/annotator_page.py                  # prints the table of docs/benchmarks.md
    python benchmarks/annotator_page.py --size small     # to try it

`samjax annotate` serves photos of 2250 x 1500 in a process of its own, and playwright drives the Chromium on the PATH
(or that of SAMJAX_BROWSER) in a window of 1280 x 800. A click's time runs from the event's own time stamp to the first
frame after the answer was painted. Every second click refines the one before, and Esc drops the mask. Rows: nothing
beside, the mouse pressed as soon as it has arrived; after it has rested there for 150 ms, as a hand does, in which time
a first click's preview has come; 1,000 masks on the photo; other photos being encoded beside.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from annotator_clicks import HEIGHT, WIDTH, Photos, draw_weights
from rehearsal_commands import serving

from samjax.data.masks import rle

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "browser"))  # how the tests drive the page

from page_driver import FLAGS, PageDriver

WATCH = """() => {
  const stage = document.querySelector('#stage');
  stage.addEventListener('pointerup', (event) => {
    window.paintedAfter = null;
    let frames = 0;
    const look = () => {
      if (frames++ && stage.ariaBusy === 'false') window.paintedAfter = performance.now() - event.timeStamp;
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, true);
}"""
"""The page paints within a frame, after this looks: what it painted has been handed over when the next one begins."""
REST_MS = 150


def save_model(size: str, folder: Path) -> None:
    """Write random weights as a checkpoint."""
    from samjax.checkpoint.weights import save_weights
    from samjax.core.json_config import to_json

    config, params, buffers = draw_weights(size)
    save_weights(folder, params=params, buffers=buffers, config={"model": json.loads(to_json(config))})


def write_photos(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"photo_{number:02}.jpg").write_bytes(Photos().jpeg(number))


def add_masks(client: Any, count: int) -> None:
    """Save discs on the first photo, as a page does."""
    opened = client.post("/api/next", json={}).json()
    path, lease = f"/api/photos/{opened['photo']['id']}", {"lease": opened["lease"]["number"]}
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for number in range(count):
        row, column = divmod(number, 40)
        disc = (y - 40 - 56 * row) ** 2 + (x - 40 - 55 * column) ** 2 < 20**2
        content = {"runs": rle.encode(disc), "source": "brush", "clicks": 0, "seconds": 1.0, "active_seconds": 1.0}
        content |= {"prompts": {"points": [], "labels": [], "box": None}, **lease}
        client.put(f"{path}/masks/{uuid.uuid4()}", json=content).raise_for_status()


@contextlib.contextmanager
def opened_page(client: Any) -> Iterator[PageDriver]:
    """Yield the page of a server in a browser, on the first photo."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("SAMJAX_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("no Chromium on the PATH; SAMJAX_BROWSER may name one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.set_default_timeout(120_000)
        driver = PageDriver(page, SimpleNamespace(address=str(client.base_url)))
        yield driver.goto("simulated")
        assert not driver.errors, driver.errors
        browser.close()


def clicks(driver: PageDriver, count: int, *, rest_ms: float = 0) -> list[float]:
    """Return milliseconds from each of `count` clicks to its pixels; before it the mouse rests where it clicks."""
    page, found = driver.page, []
    page.evaluate(WATCH)
    for number in range(-4, count):
        place = (200 + 37 * (number % 50), 500 + 11 * (number % 40))
        is_first = number % 2 == 0
        place = place if is_first else (place[0] - 150, place[1] + 80)
        if rest_ms:
            driver.move(*place)
            page.wait_for_timeout(rest_ms)
        driver.click(*place, button="left" if is_first else "right")
        driver.wait(lambda: page.evaluate("window.paintedAfter") is not None)
        found.append(page.evaluate("window.paintedAfter"))
        if number % 2:
            driver.press("Escape")
    return found[4:]


def row(name: str, times: list[float]) -> str:
    most = sorted(times)[int(0.95 * len(times))]
    return f"| {name} | {len(times)} | {statistics.median(times):.0f} ms | {most:.0f} ms |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("small", "vit_b"), default="vit_b")
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--masks", type=int, default=1_000)
    known = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        save_model(known.size, work / "model")
        write_photos(work / "photos", 1)
        write_photos(work / "many", 16)
        log = work / "server.log"
        given = ["--checkpoint", work / "model", "--cache", work / "cache"]
        one = [*given, "--images", work / "photos" / "*.jpg", "--out", work / "one", "--encode-first"]
        many = [*given, "--images", work / "many" / "*.jpg", "--out", work / "two"]
        rows = ["| | clicks | event to pixels | 95% of clicks |", "| --- | --- | --- | --- |"]
        with serving(log, *one, annotator="simulated") as client:
            with opened_page(client) as driver:
                rows.append(row("nothing beside", clicks(driver, known.clicks)))
                rows.append(row("the mouse rests before", clicks(driver, known.clicks, rest_ms=REST_MS)))
            add_masks(client, known.masks)
            with opened_page(client) as driver:
                rows.append(row(f"{known.masks:,} masks on the photo", clicks(driver, known.clicks)))
        with serving(log, *many, annotator="simulated") as client, opened_page(client) as driver:
            rows.append(row("photos encoded beside", clicks(driver, known.clicks)))
    print("\n".join(["", *rows]))


if __name__ == "__main__":
    main()
