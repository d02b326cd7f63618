"""Seconds from the start of a Python process to its first mask, with an empty and a filled compilation cache.

    python benchmarks/start.py                      # the small model, random weights
    python benchmarks/start.py --checkpoint runs/small

Each row is the median over several processes: import, reading the weights, the first photo, its first click, a second
click. Processes in the first column start with an empty compilation cache, those in the second with the cache of an
earlier process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = ("import", "load", "first photo", "first click", "second click")

_PROCESS = """
import json, sys, time
marks = [time.perf_counter()]
import numpy as np
from samjax.predict.promptable.predictor import Predictor
marks.append(time.perf_counter())
predictor = Predictor.from_checkpoint(sys.argv[1])
marks.append(time.perf_counter())
predictor.set_image(np.zeros((480, 640, 3), np.uint8))
predictor._embedding.block_until_ready()
marks.append(time.perf_counter())
for _ in range(2):
    predictor.predict(points=[[[320, 240]]], labels=[[1]])
    marks.append(time.perf_counter())
print(json.dumps([after - before for before, after in zip(marks, marks[1:])]))
"""


def write_weights(folder: Path) -> Path:
    """Write the small model with random weights, and return where."""
    import jax
    import numpy as np
    from flax import nnx

    from samjax.checkpoint.weights import save_weights
    from samjax.core.json_config import to_json
    from samjax.models.sam.sam import SamConfig
    from samjax.nn.structure import abstract_model

    config, draw = SamConfig.small(), np.random.default_rng(0)
    params, buffers = (
        jax.tree.map(lambda leaf: draw.normal(size=leaf.shape).astype(np.float32), nnx.to_pure_dict(part))
        for part in abstract_model(config.make)[1:]
    )
    save_weights(folder / "small", params=params, buffers=buffers, config={"model": json.loads(to_json(config))})
    return folder / "small"


def measure(checkpoint: Path, cache: Path) -> list[float]:
    """Return the seconds of each of STEPS in a process that keeps its programs in `cache`."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", _PROCESS, str(checkpoint)]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="a run's workdir, a checkpoint, or weights")
    parser.add_argument("--processes", type=int, default=3, help="of each column (default: 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = arguments.checkpoint or write_weights(Path(folder))
        measure(checkpoint, Path(folder) / "warm")
        pairs = [
            (measure(checkpoint, Path(folder) / str(turn)), measure(checkpoint, Path(folder) / "warm"))
            for turn in range(arguments.processes)
        ]
    print("| | first process | next processes |\n| --- | --- | --- |")
    columns = [[statistics.median(steps) for steps in zip(*column, strict=True)] for column in zip(*pairs, strict=True)]
    for step, *seconds in zip((*STEPS, "together"), *([*column, sum(column)] for column in columns), strict=True):
        print(f"| {step} | {' | '.join(f'{one:.1f} s' for one in seconds)} |")


if __name__ == "__main__":
    main()
