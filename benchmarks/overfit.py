"""Checks that the model can learn at all: `small` at 256 px overfits eight real photos.

    python benchmarks/overfit.py                      # about an hour on two cores
    python benchmarks/overfit.py --steps 50 --workdir runs/overfit_short

Takes the first eight shipped training photos with at least three masks of 400 pixels or more in the model's frame,
trains on those masks from random weights, with two corrections a mask and for the last sixth of the steps with seven,
and prints mIoU after 1 to 8 evaluation clicks on the same masks, with the time it took. The target is mIoU@8 >= 0.90.
"""

import argparse
import io
import json
import tarfile
import time
from dataclasses import replace
from pathlib import Path

from samjax.api.training_run import train
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import LossConfig
from samjax.models.sam.sam import SamConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import DropsConfig
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks.promptable import ClickValidationConfig, PromptableTraining
from samjax.training.config import CheckpointConfig
from samjax.training.trackers import JsonLines

PHOTOS, SIDE, SMALLEST_MASK, FEWEST_MASKS = 8, 256, 400, 3
# Shares of the steps: where the rate falls, and where clicks become more.
DROPS, MORE_CLICKS = (0.65, 0.85, 0.97), 0.83
SHIPPED = Path(__file__).parent.parent / "experiments" / "sam" / "photos" / "train" / "sa_000000.tar"


def read(archive: tarfile.TarFile, name: str) -> bytes:
    """Return a member of the shipped tar."""
    file = archive.extractfile(name)
    assert file is not None, name
    return file.read()


def write_subset(out: Path) -> int:
    """Write the photos and masks to learn as a tar in the release layout; return the number of masks."""
    masks = photos = 0
    with tarfile.open(SHIPPED) as shipped, tarfile.open(out, "w") as subset:
        for member in shipped.getmembers():
            if not member.name.endswith(".json") or photos == PHOTOS:
                continue
            described = json.loads(read(shipped, member.name))
            scale = SIDE / max(described["image"]["width"], described["image"]["height"])
            large = [one for one in described["annotations"] if one["area"] * scale**2 >= SMALLEST_MASK]
            if len(large) < FEWEST_MASKS:
                continue
            photo = member.name.replace(".json", ".jpg")
            text = json.dumps({**described, "annotations": large}).encode()
            for name, content in [(photo, read(shipped, photo)), (member.name, text)]:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                subset.addfile(entry, io.BytesIO(content))
            photos, masks = photos + 1, masks + len(large)
    return masks


def config(source: Path, steps: int) -> PromptableTraining:
    """Everything that regularises is off: the point is to fit. Two corrections make a cheap step."""
    drops = tuple(int(share * steps) for share in DROPS)
    schedule = DropsConfig(peak_lr=1e-3, warmup_steps=50, milestones=drops, drop_factor=0.3)
    return PromptableTraining(
        model=SamConfig.small(),
        data=MaskDataConfig(source=str(source), max_masks=6),
        prompting=InteractionConfig(corrections=2, refinement=Refinement.LAST),
        loss=LossConfig(loss_size=128, focal_weight=4.0),
        optim=OptimConfig(schedule=schedule, weight_decay=0.01, layer_decay=1.0, beta2=0.98),
        validation=ClickValidationConfig(
            source=str(source), split="train", every=250, max_masks=16, photos=PHOTOS, batch_size=PHOTOS
        ),
        checkpoint=CheckpointConfig(every=250, keep=1),
        steps=int(MORE_CLICKS * steps),
        batch_size=PHOTOS // 2,
        log_every=25,
    )


def finish(first: PromptableTraining, steps: int) -> PromptableTraining:
    """Return how the run of `first` goes on to its end: with as many clicks as it is judged by."""
    return replace(
        first,
        data=replace(first.data, max_masks=4),
        prompting=replace(first.prompting, corrections=7),
        steps=steps,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3_700)
    parser.add_argument("--workdir", type=Path, default=Path("runs/overfit"))
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    subset = arguments.workdir / "photos.tar"
    masks = write_subset(subset)
    print(f"{PHOTOS} photos, {masks} masks of at least {SMALLEST_MASK} pixels")

    began, worked = time.monotonic(), time.process_time()
    first = config(subset, arguments.steps)
    train(first, workdir=str(arguments.workdir))
    train(finish(first, arguments.steps), workdir=str(arguments.workdir))
    minutes, of_cores = (time.monotonic() - began) / 60, (time.process_time() - worked) / 60
    rows = [row for row in JsonLines.read(arguments.workdir / "metrics.jsonl") if row.get("split") == "val"]
    print("step  " + "  ".join(f"{name:>8}" for name in rows[0] if "@" in name))
    for row in rows:
        print(f"{row['step']:>4}  " + "  ".join(f"{value:8.3f}" for name, value in row.items() if "@" in name))
    reached = f"mIoU@8 {rows[-1]['miou@8']:.4f} (target 0.90) after {arguments.steps} steps"
    print(f"{reached}, {minutes:.1f} minutes by the clock, {of_cores:.1f} of a core")


if __name__ == "__main__":
    main()
