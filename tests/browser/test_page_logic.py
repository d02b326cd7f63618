"""The page's logic without a page: Node runs it, and pycocotools says what runs are."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from colour_contrast import contrast, tokens
from pycocotools import mask as coco

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "samjax" / "annotate" / "static"
LOGIC = Path(__file__).parent / "logic"
LONGEST_MODULE = 300


def rle_case(mask):
    rle = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    x, y, width, height = (int(side) for side in coco.toBbox(rle))
    return {
        "height": mask.shape[0],
        "width": mask.shape[1],
        "pixels": "".join(map(str, mask.T.astype(int).ravel())),
        "counts": rle["counts"].decode(),
        "area": int(coco.area(rle)),
        "bounds": [x, y, x + width, y + height] if mask.any() else None,
    }


def rle_cases():
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.integers(1, 40, 2)
        yield rng.random((height, width)) < rng.choice([0.02, 0.5, 0.98])
        rows, columns = np.mgrid[:height, :width]
        yield (rows - height / 2) ** 2 + (columns - width / 3) ** 2 < (min(height, width) / 2) ** 2
    for value in (False, True):
        yield np.full((5, 7), value)
    yield np.arange(12).reshape(3, 4) == 11


def node():
    path = shutil.which("node")
    if path is None:
        pytest.skip("no node on the PATH: the page's logic is tested in the browser alone")
    return path


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """The page's modules and their tests where Node takes them for modules."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copytree(STATIC, folder / "static")
    shutil.copytree(LOGIC, folder / "logic")
    (folder / "rle.json").write_text(json.dumps([rle_case(mask) for mask in rle_cases()]))
    return folder


def run_tests(modules, path, *, seconds=120):
    """Run a file of tests in Node, which stops one that has not ended after so many seconds, and fails it."""
    return subprocess.run(
        [node(), "--test", f"--test-timeout={1000 * seconds}", str(path)],
        env={**os.environ, "RLE_CASES": str(modules / "rle.json")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", sorted(LOGIC.glob("*.test.mjs")), ids=lambda path: path.name)
def test_logic(modules, path):
    done = run_tests(modules, modules / "logic" / path.name)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "# pass 0\n" not in done.stdout


def test_logic_that_never_ends_fails(modules, tmp_path):
    path = tmp_path / "endless.test.mjs"
    path.write_text("import test from 'node:test'; test('passes', () => {}); setInterval(() => {}, 1000);")
    done = run_tests(modules, path, seconds=3)
    assert done.returncode != 0
    assert "timed out" in done.stdout


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_modules_are_short_and_load_nothing_from_outside(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    for line in text.splitlines():
        if line.startswith("import "):
            assert "from './" in line
    assert "://" not in text


def test_page_loads_nothing_from_outside():
    for name in ("index.html", "style.css"):
        text = (
            (STATIC / name)
            .read_text()
            .replace("http://www.w3.org/2000/svg", "")
            .replace("xmlns='http://www.w3.org/2000/svg'", "")
        )
        assert "//" not in text.replace("data:image/svg+xml", ""), name
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 200_000


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("text", "ground"), ("text", "panel"), ("text", "raised"), ("faint", "ground"), ("faint", "panel"),
        ("faint", "raised"), ("on-accent", "accent"), ("accent", "panel"), ("amber", "panel"),
    ],
)  # fmt: skip
def test_contrast(ink, paper):
    assert contrast(tokens()[ink], tokens()[paper]) >= 4.5
