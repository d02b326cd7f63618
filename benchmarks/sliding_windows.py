"""Sliding windows over a photo of 1024 x 2048: SegFormer-B0 of 19 classes, windows of 512 pixels, float32, CPU.

    python benchmarks/sliding_windows.py       # a minute on two cores; prints the table of docs/benchmarks.md

Each stride has its own process. It ends with an error where a window is computed twice, or where eight times as many
windows raise the peak of memory, less what libraries take, by more than a tenth.
"""

from collections import Counter
from typing import Any

import numpy as np
from sides import JAX, Actions, Side

PHOTO, WINDOW, CLASSES = (1024, 2048), 512, 19
STRIDES = (512, 256, 128)
GROWTH = 1.1


def sliding(stride: int) -> Actions:
    import jax
    from flax import nnx

    from samjax.models.dense_prediction.dense_model import DenseConfig
    from samjax.parallel.mesh import MeshConfig, make_mesh
    from samjax.predict.semantic.dense_engine import DenseEngine
    from samjax.predict.semantic.semantic_config import SemanticPredictionConfig, Windows
    from samjax.predict.semantic.semantic_predictor import SemanticPredictor

    config = DenseConfig.segformer_b0(classes=CLASSES, image_size=(WINDOW, WINDOW), dtype="float32")
    mesh = make_mesh(MeshConfig(data=1), devices=jax.devices()[:1])
    engine = DenseEngine(config.make(rngs=nnx.Rngs(0)), config, mesh=mesh)
    settings = SemanticPredictionConfig(windows=Windows.SLIDING, stride=stride, fit=(PHOTO[1], PHOTO[0]))
    predictor = SemanticPredictor(engine, settings)
    # Noise: no two windows are alike, so a window that is seen again is one that is computed again.
    photo = np.random.default_rng(0).integers(0, 256, (*PHOTO, 3), np.uint8)
    seen: Counter[bytes] = Counter()
    compute = engine.logits

    def counted(images: Any, sizes: Any, *, enlarge: bool) -> Any:
        seen.update(one.tobytes()[:256] for one, size in zip(images, sizes, strict=True) if size[0] == WINDOW)
        return compute(images, sizes, enlarge=enlarge)

    engine.logits = counted

    def run() -> dict[str, np.ndarray]:
        seen.clear()
        classes = predictor.predict(photo)
        return {"classes": classes, "windows": np.array(len(seen)), "most": np.array(max(seen.values()))}

    return {"predict": run}


def main() -> None:
    print("| stride | windows | seconds | peak memory |\n| --- | --- | --- | --- |")
    peaks = []
    for stride in STRIDES:
        side = Side(sliding, stride, libraries=JAX)
        side("predict")  # compiles
        turn = side("predict")
        side.close()
        windows, most = (int(turn.output[name]) for name in ("windows", "most"))
        expected = np.prod([(length - WINDOW) // stride + 1 for length in PHOTO])
        assert (windows, most) == (expected, 1), f"{windows} windows instead of {expected}, one of them {most} times"
        peaks.append(turn.peak_bytes)
        print(f"| {stride} | {windows} | {turn.seconds:.1f} s | {turn.peak_bytes / 2**30:.2f} GiB |", flush=True)
    assert max(peaks) <= GROWTH * peaks[0], "memory grows with the number of windows"


if __name__ == "__main__":
    main()
