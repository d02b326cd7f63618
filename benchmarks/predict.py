"""Prediction against Hugging Face's `SamModel` in PyTorch with SDPA: ViT-B at 1024, float32, CPU.

    python benchmarks/predict.py                       # prints the table of docs/benchmarks.md
    python benchmarks/predict.py --only "one prompt" --turns 20

Each side has a process of its own, two cores and two threads, and they take turns. Both start from the same random
weights. Prompts are single points with three masks each, on a ready embedding of the photo; what is timed ends with
logits and predicted IoU in NumPy. Outputs must agree to 1e-4 of their norm.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from sides import JAX, PYTORCH, THREADS, Actions, Result, Side, compare, model_config

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parity"))  # the reference model of the tests

TARGETS = {"encoder": 1.0, "one prompt": 1.0, "64 prompts": 1.2}
MOST_SECONDS = {"one prompt": 0.05}
TURNS = {"encoder": 5, "one prompt": 20, "64 prompts": 5}
SIDE, SEED = 1024, 0


def photo() -> np.ndarray:
    """Return a photo's pixels in the frame."""
    return np.random.default_rng(SEED).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def embedding(grid: tuple[int, int], channels: int) -> np.ndarray:
    """Return a photo's ready embedding, [h w c]."""
    return np.random.default_rng(SEED + 1).normal(size=(*grid, channels)).astype(np.float32)


def points(count: int) -> np.ndarray:
    """Return a point for each object, (x, y) in pixels."""
    return np.random.default_rng(SEED + 2).uniform(0, SIDE, (count, 2)).astype(np.float32)


def pytorch(weights: str) -> Actions:
    import torch
    from reference import reference

    torch.set_num_threads(THREADS)
    config = model_config("vit_b", side=SIDE, device="cpu")
    model = reference(config, attention="sdpa")
    np.savez(weights, **{name: array.numpy() for name, array in model.state_dict().items()})
    mean, std = (torch.tensor(part) for part in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    pixels = ((torch.as_tensor(photo()).float() - mean) / std).permute(2, 0, 1)[None].contiguous()
    ready = torch.as_tensor(embedding(config.grid, config.embedding)).permute(2, 0, 1)[None].contiguous()

    @torch.inference_mode()
    def encode():
        return {"embedding": model.get_image_embeddings(pixels).permute(0, 2, 3, 1).numpy()}

    def decode(count: int):
        asked = torch.as_tensor(points(count))[None, :, None]
        labels = torch.ones(asked.shape[:3], dtype=torch.int32)

        @torch.inference_mode()
        def run():
            output = model(image_embeddings=ready, input_points=asked, input_labels=labels, multimask_output=True)
            return {"logits": output.pred_masks.numpy(), "iou": output.iou_scores.numpy()}

        return run

    return {"encoder": encode, "one prompt": decode(1), "64 prompts": decode(64)}


def samjax(weights: str) -> Actions:
    import jax.numpy as jnp

    from samjax.interop.torch_weights import from_torch
    from samjax.models.sam.sam import model_with
    from samjax.predict.engine import Engine
    from samjax.predict.prompts import photo_prompts, stacked

    config = model_config("vit_b", side=SIDE, device="cpu")
    with np.load(weights) as arrays:
        params, buffers = from_torch(dict(arrays), config)
    engine = Engine(model_with(config, params=params, buffers=buffers), config)
    frame, whole = photo()[None], np.array([[SIDE, SIDE]])
    ready = jnp.asarray(embedding(config.grid, config.embedding))[None]

    def encode():
        return {"embedding": np.asarray(engine.encode(frame, whole))}

    def decode(count: int):
        def run():
            asked = photo_prompts(
                points=points(count)[:, None],
                labels=np.ones((count, 1)),
                boxes=None,
                mask_logits=None,
                photo=(SIDE, SIDE),
                fitted=(SIDE, SIDE),
                logits_size=config.logits_size,
            )
            prompts = stacked([asked], images=1, objects=count, slots=2, logits_size=config.logits_size)
            output = engine.decode(ready, prompts, multimask=True)
            return {"logits": np.asarray(output.logits), "iou": np.asarray(output.iou)}

        return run

    return {"encoder": encode, "one prompt": decode(1), "64 prompts": decode(64)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, help="of each comparison (default: 20 of one prompt, 5 of the others)")
    parser.add_argument("--only", nargs="*", choices=tuple(TARGETS), default=tuple(TARGETS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        theirs = Side(pytorch, weights, libraries=PYTORCH)
        ours = Side(samjax, weights, libraries=JAX)
        results = {
            action: compare(ours, theirs, action, turns=arguments.turns or TURNS[action], tolerance=1e-4)
            for action in arguments.only
        }
        ours.close()
        theirs.close()
    print("| | PyTorch | samjax | speed (target) |\n| --- | --- | --- | --- |")
    for action, result in results.items():
        print(row(action, result))


def row(action: str, result: Result) -> str:
    """Return a comparison as a Markdown row."""
    most = f", <= {1000 * MOST_SECONDS[action]:.0f} ms" if action in MOST_SECONDS else ""
    seconds = [f"{1000 * turn.seconds:,.0f} ms" for turn in (result.theirs, result.ours)]
    return f"| {action} | {' | '.join(seconds)} | {result.speed:.2f}x (>= {TARGETS[action]}x{most}) |"


if __name__ == "__main__":
    main()
