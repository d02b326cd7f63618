"""How good masks are, as the paper asks: generated, drawn, judged and corrected in the annotator, compared."""

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys

import httpx2
import numpy as np
import pytest
from helpers.quick_generator import without_model
from PIL import Image

from samjax.cli.main import main

WORDS = ("--mode", "verify", "--port", "0")


@pytest.fixture
def sample(tmp_path, checkpoint, capsys):
    """Four of six photos of two parts of `samjax generate`, with two masks each."""
    draw = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(6):
        Image.fromarray(draw.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / f"pictures/{number}.png")
    words = [
        "--checkpoint",
        str(checkpoint),
        "--images",
        f"{tmp_path}/pictures/*.png",
        "--out",
        str(tmp_path / "masks"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        without_model(patch)
        for part in ("1/2", "2/2"):
            assert main(["generate", *words, "--part", part]) == 0
    assert main(["annotate", "sample", f"{tmp_path}/masks", "--photos", "4", "--out", f"{tmp_path}/sample"]) == 0
    assert "4 of 6 photos with 8 masks" in capsys.readouterr().out
    return tmp_path / "sample"


@contextlib.contextmanager
def served(*words):
    """Yield the address that `samjax annotate` prints, and what it printed before."""
    command = [sys.executable, "-m", "samjax.cli.main", "annotate", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            assert process.stdout is not None
            lines = []
            while not (line := process.stdout.readline()).startswith("open "):
                assert line, "it has ended"
                lines.append(line)
            yield line.split()[1], "".join(lines)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.mark.slow
def test_a_sample_is_judged_corrected_and_compared(sample, checkpoint, tmp_path, capsys):
    out = tmp_path / "corrected"
    words = ["--checkpoint", checkpoint, "--masks", sample, "--out", out, "--cache", tmp_path / "cache", *WORDS]
    before = {path.name: path.read_bytes() for path in sample.iterdir()}
    with served(*words) as (address, printed):
        assert f"8 masks copied from {sample}\n" in printed
        with httpx2.Client(base_url=f"{address}api/", headers={"X-Annotator": "ann"}, timeout=120) as page:
            _judge_three_photos(page)
    with served(*words) as (_, printed):
        assert "copied" not in printed
    assert {path.name: path.read_bytes() for path in sample.iterdir()} == before
    capsys.readouterr()
    assert main(["annotate", "agreement", str(sample), str(out), "--out", str(tmp_path / "agreement.json")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 pairs of masks in 4 photos: 75.0% above 0.90 IoU")
    assert "2 masks wait for a verdict or to be drawn again" in said
    figures = json.loads((tmp_path / "agreement.json").read_text())
    assert (figures["unchanged"], figures["deleted"], figures["added"], figures["waiting"]) == (3, 2, 0, 2)
    assert main(["annotate", "stats", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"] == {"yes": 3, "no": 2, "redo": 0}


def _judge_three_photos(page) -> None:
    """Say yes to three masks and no to two, and correct one with a click; leave the fourth photo alone."""
    for verdicts in (["yes", "no"], ["no", "yes"], ["yes", None]):
        opened = page.post("next", json={}).raise_for_status().json()
        photo, lease = f"photos/{opened['photo']['id']}", opened["lease"]["number"]
        for mask, verdict in zip(opened["masks"], verdicts, strict=True):
            assert (mask["annotator"], mask["source"]) == ("model", "proposal")
            if verdict is not None:
                body = {"verdict": verdict, "lease": lease}
                page.put(f"{photo}/verdicts/{mask['uuid']}", json=body).raise_for_status()
                continue
            packed = (
                page.post(f"{photo}/predict", json={"points": [[30, 20]], "labels": [1]}).raise_for_status().content
            )
            (length,) = struct.unpack("<I", packed[:4])
            handle = json.loads(packed[4 : 4 + length])["candidates"][0]["handle"]
            prompts = {"points": [[30, 20]], "labels": [1], "box": None}
            body = {"handle": handle, "prompts": prompts, "source": "changed", "lease": lease, "revision": 1}
            page.put(f"{photo}/masks/{mask['uuid']}", json=body).raise_for_status()
        page.post(f"{photo}/done", json={"lease": lease}).raise_for_status()


def test_photos_are_named_once(sample, checkpoint, tmp_path, capsys):
    words = ["--checkpoint", str(checkpoint), "--out", str(tmp_path / "out"), "--masks", str(sample)]
    assert main(["annotate", *words, "--images", f"{tmp_path}/pictures/*.png"]) == 2
    assert "--images and --masks both name the photos: give one of them" in capsys.readouterr().err
    assert main(["annotate", *words[:4], "--masks", str(tmp_path / "masks")]) == 2
    assert "holds parts of samjax generate: draw photos with samjax annotate sample" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
