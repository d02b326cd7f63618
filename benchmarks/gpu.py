"""ViT-H on one GPU: the MFU of a training step, compared with PyTorch on the same step.

    python benchmarks/gpu.py                # about ten minutes on an H200, not tried yet
    python benchmarks/gpu.py --rehearse     # a small model, on any machine, in float32 on a CPU

Needs the extras `cuda` and `test`, and a PyTorch built for CUDA. Both compute in bfloat16 over float32 parameters;
PyTorch has SDPA, autocast and torch.compile. A whole step runs 11 rounds of 64 masks. Both models are on the GPU at
once and alternate; their losses must agree. Our step is also timed in groups of 1, 4, 16 and 64 masks. MFU is relative
to the chip's bfloat16 peak, by the model's minimum FLOPs. Last, `samjax train` runs on the shipped photos, and its log
says how long its steps wait for data.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import encoder
import numpy as np
import train_step
from sides import JAX, PYTORCH, Result, Side, compare

ROOT = Path(__file__).parent.parent
PHOTOS = ROOT / "experiments" / "sam" / "photos" / "train" / "sa_000000.tar"
# A share of the GPU's memory for each of two processes, taken as it is needed.
MEMORY = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.45"}
TOLERANCE = 2e-2  # of losses in bfloat16
TARGETS = {"encoder": 0.50, "whole step": 0.45}
GROUPS = (1, 4, 16, 64)  # masks decoded at once
FASTER, WAITING = 1.5, 0.02


def compare_encoders(case: encoder.Case, *, turns: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        theirs = Side(encoder.pytorch, case, weights, libraries=PYTORCH, cores=None)
        ours = Side(encoder.samjax, case, weights, libraries=JAX, cores=None)
        result = compare(ours, theirs, "training step", turns=turns, tolerance=TOLERANCE)
        ours.close()
        theirs.close()
    return result


def compare_steps(case: train_step.Case, *, turns: int) -> tuple[Result, int]:
    """Return the times, and how many buffers of our program hold a score for each pair of image tokens."""
    with tempfile.TemporaryDirectory() as folder:
        ours = Side(train_step.samjax, case, folder, libraries=JAX, cores=None)
        theirs = Side(train_step.pytorch, case, folder, libraries=PYTORCH, cores=None)
        result = compare(ours, theirs, "step", turns=turns, tolerance=TOLERANCE)
        scores = int(ours("scores").output["scores"])
        ours.close()
        theirs.close()
    return result, scores


def time_groups(case: train_step.Case, *, turns: int) -> dict[int, float]:
    """Return the seconds of our step by how many masks it decodes at once."""
    seconds = {}
    for at_once in sorted({size for size in GROUPS if size <= case.masks}):
        with tempfile.TemporaryDirectory() as folder:
            side = Side(train_step.samjax, replace(case, masks_at_once=at_once), folder, libraries=JAX, cores=None)
            side("step")
            seconds[at_once] = min(side("step").seconds for _ in range(turns))
            side.close()
    return seconds


def waiting(model: str, *, photos: int, steps: int) -> float:
    """Return the share of its time that `samjax train` waits for data, after its first row."""
    from samjax.training.trackers import JsonLines

    with tempfile.TemporaryDirectory() as workdir:
        run = [str(Path(sys.executable).parent / "samjax"), "train", str(ROOT / "experiments" / "sam" / f"{model}.py")]
        options = {"data.source": PHOTOS, "workdir": workdir, "steps": steps, "batch-size": photos, "log-every": 5}
        run += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        subprocess.run(run, check=True, env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"})
        rows = [row for row in JsonLines.read(Path(workdir) / "metrics.jsonl") if "data_wait_s" in row][1:]
    return float(np.mean([float(row["data_wait_s"]) / float(row["step_s"]) for row in rows]))


def report(name: str, result: Result, *, photos: int, flops: int, peak: float | None) -> None:
    """Print a row of the table."""
    speeds = [photos / turn.seconds for turn in (result.theirs, result.ours)]
    mfus = ["" if peak is None else f", {speed * flops / peak:.1%}" for speed in speeds]
    cells = " | ".join(f"{speed:.2f}/s{mfu}" for speed, mfu in zip(speeds, mfus, strict=True))
    print(f"| {name} | {cells} (>= {TARGETS[name]:.0%}) | {result.speed:.2f}x (>= {FASTER}x) |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--photos", type=int, default=4, help="photos a step")
    parser.add_argument("--rehearse", action="store_true")
    arguments = parser.parse_args()
    os.environ.update(MEMORY)

    encoding = encoder.Case(model="vit_h", photos=arguments.photos, device="cuda")
    stepping = train_step.Case(
        model="vit_h", side=1024, masks=64, rounds=11, photos=arguments.photos, device=encoding.device
    )
    if arguments.rehearse:
        encoding = replace(encoding, model="small", side=320, device="cpu")
        stepping = replace(stepping, model="small", side=320, masks=4, rounds=3, device="cpu")
    groups = time_groups(stepping, turns=arguments.turns)
    encoded = compare_encoders(encoding, turns=arguments.turns)
    stepped, scores = compare_steps(stepping, turns=arguments.turns)

    import jax

    from samjax.models.sam.flops import encoder_flops, photo_flops
    from samjax.parallel.chips import chip_of

    kind = jax.devices()[0].device_kind
    chip = chip_of(kind)
    peak = None if chip is None else float(chip.flops)
    print(f"{kind}, jax {jax.__version__}, {arguments.photos} photos a step\n")
    print("| | PyTorch, MFU | samjax, MFU (target) | speed (target) |\n| --- | --- | --- | --- |")
    least = 3 * encoder_flops(encoding.config()).total
    report("encoder", encoded, photos=encoding.photos, flops=least, peak=peak)
    flops = photo_flops(stepping.config().model, masks=stepping.masks, rounds=stepping.rounds).training
    report("whole step", stepped, photos=stepping.photos, flops=flops, peak=peak)
    print("\n| masks at once | photos per second | MFU |\n| --- | --- | --- |")
    for at_once, seconds in groups.items():
        speed = stepping.photos / seconds
        mfu = "" if peak is None else f"{speed * flops / peak:.1%}"
        print(f"| {at_once} | {speed:.2f} | {mfu} |")
    print(f"\nbuffers with a score for each pair of image tokens: {scores} (0; a rehearsal's small map fits one block)")
    assert arguments.rehearse or not scores
    share = waiting("smoke" if arguments.rehearse else "vit_h", photos=arguments.photos, steps=20)
    print(f"waiting for data: {share:.2%} of a step (< {WAITING:.0%})")


if __name__ == "__main__":
    main()
