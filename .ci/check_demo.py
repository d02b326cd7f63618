"""Whether a finished run of `experiments/sam/smoke.py` has learnt: `python .ci/check_demo.py WORKDIR`."""

import json
import sys
from pathlib import Path

from PIL import Image

CLEARLY = 0.1
"""How much mIoU must rise, on the training and on the held-out photos, and how much eight clicks must beat one."""


def check(workdir: Path) -> str:
    """Return the figures of the run in `workdir`; AssertionError where it did not learn or an output is missing."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    training = [row for row in rows if row.get("split") != "val"]
    validation = [row for row in rows if row.get("split") == "val"]
    steps = json.loads((workdir / "config.json").read_text())["steps"]
    assert training, "metrics.jsonl has no training row"
    assert training[-1]["step"] == steps, f"the last training row is of step {training[-1]['step']}, not {steps}"
    assert len(validation) >= 2, f"metrics.jsonl has {len(validation)} validation rows, not one before and one after"
    first, last = validation[0], validation[-1]
    assert (first["step"], last["step"]) == (0, steps), f"validated from step {first['step']} to {last['step']}"
    figures = (
        f"miou@1 {first['miou@1']:.3f} -> {last['miou@1']:.3f}, miou@8 {first['miou@8']:.3f} -> {last['miou@8']:.3f}"
    )
    early, late = (sum(row["miou"] for row in rows) / len(rows) for rows in (training[:5], training[-5:]))
    figures += f", training miou {early:.3f} -> {late:.3f}"
    assert late > early + CLEARLY, f"training miou did not rise by {CLEARLY}: {figures}"
    for name in ("miou@1", "miou@8"):
        assert last[name] > first[name] + CLEARLY, f"held-out {name} did not rise by {CLEARLY}: {figures}"
    assert last["miou@8"] > last["miou@1"] + CLEARLY, f"eight clicks are not {CLEARLY} better than one: {figures}"

    assert training[-1]["loss"] < training[0]["loss"], "the training loss did not fall"
    assert any((workdir / "checkpoints").iterdir()), "checkpoints/ is empty"
    assert any((workdir / "tensorboard").iterdir()), "tensorboard/ is empty"
    pictures = sorted((workdir / "samples").glob("*.png"))
    assert pictures, "samples/ holds no picture"
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
            assert len(picture.getcolors(2**24)) > 1_000, f"{path.name} shows next to nothing"
    return f"{figures}; {len(pictures)} pictures"


if __name__ == "__main__":
    print(check(Path(sys.argv[1])))
