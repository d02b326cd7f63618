"""A browser, a page in it, and a server of discs. Skipped, with a reason, where any of them is not installed."""

import contextlib
import importlib
import os
import shutil

import pytest
from disc_photo import DiscPhoto
from page_driver import FLAGS, PageDriver


@pytest.fixture(scope="session")
def discs():
    """The module with the server whose model answers discs."""
    for name in ("starlette", "uvicorn"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install -e '.[browser]'")
    return importlib.import_module("disc_server")


@pytest.fixture
def serve(discs):
    """Return a function that starts a server of discs on photos, two by default."""
    with contextlib.ExitStack() as stack:
        yield lambda photos=None, **options: stack.enter_context(
            discs.serving(photos or [DiscPhoto(1), DiscPhoto(2)], **options)
        )


@pytest.fixture(scope="session")
def chromium():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[browser]'")
    path = os.environ.get("SAMJAX_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on the PATH; SAMJAX_BROWSER may name one")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium):
    """Return a function that opens a page on a server; another call is another browser window with its own storage."""
    contexts, drivers = [], []

    def opened(server, *, name="ann", width=1280, height=800, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        driver = PageDriver(context.new_page(), server)
        drivers.append(driver)
        return driver.goto(name)

    yield opened
    errors = [error for driver in drivers for error in driver.errors]
    for context in contexts:
        context.close()
    assert not errors, errors
