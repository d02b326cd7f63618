"""Prediction against Hugging Face's `SamModel` in PyTorch with SDPA: ViT-B at 1024, float32, CPU.

    python benchmarks/predict.py                       # prints the table of docs/benchmarks.md
    python benchmarks/predict.py --only "one prompt" --turns 20

Each side has its own process, two cores and two threads, and the sides alternate. Both start from the same random
weights. Prompts are single points with three masks each, on a ready embedding of the photo; what is timed ends with
logits and predicted IoU in NumPy. Outputs must agree to 1e-4 of their norm.

Automatic masks are those of a real photo by 32 x 32 points, against transformers' mask-generation pipeline. With random
weights all predicted IoUs are below the default thresholds, so both sides use lower ones, and no box is suppressed: a
tenth of the candidates stay. The masks must be the same, in the same order; of a million pixels 25 may differ, where
rounding decides.
"""

import argparse
import io
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sides import JAX, PYTORCH, THREADS, Actions, Result, Side, compare, model_config

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parity"))  # the reference model of the tests

TARGETS = {"encoder": 1.0, "one prompt": 1.0, "64 prompts": 1.2, "automatic masks": 1.5}
MOST_SECONDS = {"one prompt": 0.05}
TURNS = {"encoder": 5, "one prompt": 20, "64 prompts": 5, "automatic masks": 1}
TOLERANCES = {"automatic masks": 5e-3}  # of bits: a share of 2.5e-5
SIDE, SEED = 1024, 0
PHOTOS = Path(__file__).parent.parent / "experiments" / "sam" / "photos" / "val" / "sa_000000.tar"
IOU, STABILITY, OVERLAP = 0.36, 0.3, 1.0


def photo() -> np.ndarray:
    """Return a photo's pixels in the frame."""
    return np.random.default_rng(SEED).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def embedding(grid: tuple[int, int], channels: int) -> np.ndarray:
    """Return a photo's ready embedding, [h w c]."""
    return np.random.default_rng(SEED + 1).normal(size=(*grid, channels)).astype(np.float32)


def points(count: int) -> np.ndarray:
    """Return a point for each object, (x, y) in pixels."""
    return np.random.default_rng(SEED + 2).uniform(0, SIDE, (count, 2)).astype(np.float32)


def real_photo() -> Image.Image:
    """Return one of the shipped photos, 1024 pixels high."""
    with tarfile.open(PHOTOS) as tar:
        jpeg = next(member for member in tar if member.name.endswith(".jpg"))
        picture = Image.open(io.BytesIO(tar.extractfile(jpeg).read())).convert("RGB")  # type: ignore[union-attr]
    return picture.resize((round(picture.width * SIDE / picture.height), SIDE), Image.Resampling.BICUBIC)


def pytorch(weights: str) -> Actions:
    import torch
    import transformers
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

    # Whose suppression is torchvision's, which is not needed here: no box is suppressed, the order is the scores'.
    class Processor(transformers.SamImageProcessorPil):
        def post_process_for_mask_generation(self, all_masks, all_scores, all_boxes, crops_nms_thresh):
            assert crops_nms_thresh == OVERLAP
            order = torch.argsort(all_scores, descending=True, stable=True)
            runs = [all_masks[place] for place in order]
            masks = [
                np.repeat(np.arange(len(r["counts"])) % 2 == 1, r["counts"]).reshape(r["size"][::-1]).T for r in runs
            ]
            return masks, all_scores[order], runs, all_boxes[order]

    generate = transformers.pipeline("mask-generation", model=model, image_processor=Processor())

    def automatic():
        found = generate(
            real_photo(),
            points_per_batch=64,
            pred_iou_thresh=IOU,
            stability_score_thresh=STABILITY,
            crops_nms_thresh=OVERLAP,
        )
        return {"masks": np.stack(found["masks"]), "iou": found["scores"].numpy()}

    return {"encoder": encode, "one prompt": decode(1), "64 prompts": decode(64), "automatic masks": automatic}


def samjax(weights: str) -> Actions:
    import jax.numpy as jnp

    from samjax.data.masks.rle import decode as decode_runs
    from samjax.interop.tables.sam import SAM
    from samjax.nn.structure import model_with
    from samjax.predict.automatic.generator import MaskGenerator
    from samjax.predict.automatic.generator_config import GeneratorConfig
    from samjax.predict.engine import Engine
    from samjax.predict.promptable.prompt_arrays import photo_prompts, stack_photos

    config = model_config("vit_b", side=SIDE, device="cpu")
    with np.load(weights) as arrays:
        params, buffers = SAM.from_torch(dict(arrays), config)
    engine = Engine(model_with(config.make, params=params, buffers=buffers), config)
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
            prompts = stack_photos([asked], images=1, objects=count, slots=2, logits_size=config.logits_size)
            output = engine.decode(ready, prompts, multimask=True, masked=False)
            return {"logits": np.asarray(output.logits), "iou": np.asarray(output.iou)}

        return run

    generator = MaskGenerator(
        engine, GeneratorConfig(pred_iou_threshold=IOU, stability_threshold=STABILITY, box_nms_threshold=OVERLAP)
    )

    def automatic():
        picture = np.asarray(real_photo())
        (found,) = generator.generate([picture])
        height, width = picture.shape[:2]
        masks = [decode_runs(mask.segmentation["counts"], height=height, width=width) for mask in found]
        return {"masks": np.stack(masks), "iou": np.array([mask.predicted_iou for mask in found])}

    return {"encoder": encode, "one prompt": decode(1), "64 prompts": decode(64), "automatic masks": automatic}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--turns", type=int, help="of each comparison (default: 20 of one prompt, 1 of automatic masks, 5)"
    )
    parser.add_argument("--only", nargs="*", choices=tuple(TARGETS), default=tuple(TARGETS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        theirs = Side(pytorch, weights, libraries=PYTORCH)
        ours = Side(samjax, weights, libraries=JAX)
        results = {
            action: compare(
                ours,
                theirs,
                action,
                turns=arguments.turns or TURNS[action],
                tolerance=TOLERANCES.get(action, 1e-4),
            )
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
