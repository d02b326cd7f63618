"""The annotator's page as a person sees it, in a Chromium that playwright drives."""

import json

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""Of Chromium: no window, nothing outside."""


class PageDriver:
    """A page as a person sees it: places are pixels of the photo, colours are what the layers show there."""

    def __init__(self, page, server):
        self.page, self.server = page, server
        self.errors = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def goto(self, name="ann"):
        self.page.goto(self.server.address)
        if self.page.locator("#name").is_visible():
            self.page.fill("#name input", name)
            self.page.keyboard.press("Enter")
        self.wait_open()
        return self

    def wait_open(self, name=None):
        self.page.wait_for_selector("#photo-about:not(:empty)")
        self.page.wait_for_selector("#waiting", state="hidden")
        if name:
            self.wait(lambda: self.text("#photo-name") == name)

    def place(self, x, y):
        """Return where on the screen the middle of the photo's pixel (x, y) is."""
        view = self.page.evaluate("({...document.querySelector('#stage').dataset})")
        stage = self.page.locator("#stage").bounding_box()
        scale = float(view["scale"])
        return stage["x"] + float(view["x"]) + (x + 0.5) * scale, stage["y"] + float(view["y"]) + (y + 0.5) * scale

    def click(self, x, y, *, button="left", modifiers=()):
        for key in modifiers:
            self.page.keyboard.down(key)
        self.page.mouse.click(*self.place(x, y), button=button)
        for key in modifiers:
            self.page.keyboard.up(key)

    def move(self, x, y):
        self.page.mouse.move(*self.place(x, y))

    def drag(self, start, end):
        self.page.mouse.move(*self.place(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*end), steps=8)
        self.page.mouse.up()

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def colour(self, layer, x, y):
        """Return (red, green, blue, opacity) of a layer at the photo's pixel (x, y)."""
        return self.page.evaluate(
            """async ([layer, x, y]) => {
              await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
              const {scale, x: left, y: top} = document.querySelector('#stage').dataset;
              const canvas = document.querySelector(`canvas[data-layer=${layer}]`);
              const at = [Number(left) + (x + 0.5) * scale, Number(top) + (y + 0.5) * scale].map((side) =>
                Math.floor(side * devicePixelRatio));
              return [...canvas.getContext('2d').getImageData(...at, 1, 1).data];
            }""",
            [layer, x, y],
        )

    def row(self, layer, y, columns):
        """Return the opacities of a layer along the photo's row y."""
        return self.page.evaluate(
            """async ([layer, y, columns]) => {
              await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
              const {scale, x: left, y: top} = document.querySelector('#stage').dataset;
              const context = document.querySelector(`canvas[data-layer=${layer}]`).getContext('2d');
              const place = (start, pixel) => Math.floor((Number(start) + (pixel + 0.5) * scale) * devicePixelRatio);
              return columns.map((x) => context.getImageData(place(left, x), place(top, y), 1, 1).data[3]);
            }""",
            [layer, y, list(columns)],
        )

    def inside(self, layer, x, y):
        return self.colour(layer, x, y)[3] > 0

    def wait_draft(self, x, y, *, inside=True):
        self.wait(lambda: self.inside("draft", x, y) is inside)

    def wait(self, condition, seconds=8.0):
        for _ in range(int(seconds / 0.02)):
            if condition():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError("what was waited for did not come")

    def says(self):
        """Return what the line says of saving, two frames from now: an act before shows by then."""
        return self.page.evaluate(
            """async () => {
              await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
              return document.querySelector('#saved').textContent;
            }"""
        )

    def wait_saved(self):
        self.wait(lambda: self.says() == "saved")

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def make(self, x, y):
        """Make a mask by a click and commit it."""
        self.click(x, y)
        self.wait_draft(x, y)
        self.press("Enter")
        self.wait_saved()

    @property
    def masks(self):
        """Return the masks that the server has of the first photo, as they were added."""
        return list(self.server.photos[min(self.server.photos)].masks.values())

    def unsaved_records(self):
        """Return what the page keeps in the browser because the server has not got it."""
        stored = json.loads(self.page.evaluate("JSON.stringify(localStorage)"))
        return [json.loads(value) for key, value in stored.items() if key.startswith("samjax/unsaved/")]
