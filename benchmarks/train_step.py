"""A whole training step against a plain loop over Hugging Face's `SamModel` in PyTorch with SDPA, float32, CPU.

    python benchmarks/train_step.py           # half an hour on two cores; prints the table of docs/benchmarks.md
    python benchmarks/train_step.py --only small --turns 1

A step encodes a photo, plays the annotator's rounds, computes the losses and their gradient, and updates with AdamW (at
a rate of zero: every turn is the same step). Both sides have the same weights, photo and masks. Our side draws the
clicks; PyTorch's loop is handed them, which only helps it. It computes each round again in the backward pass, and
decodes masks in groups as ours does, which helps it too. The losses must agree to 1e-4.
"""

import argparse
import functools
import re
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sides import JAX, PYTORCH, THREADS, Actions, Side, compare, model_config, print_table

from samjax.nn.rngs import initial_rngs

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parity"))  # reference model and losses of the tests

LOSS_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, how much of the recipe a step plays, and on what."""

    model: str
    side: int
    masks: int
    rounds: int
    photos: int = 1
    device: str = "cpu"
    """As PyTorch calls it. Not on a CPU, both compute in bfloat16 and PyTorch compiles."""
    masks_at_once: int | None = None
    """Of our side; None is what it chooses."""
    torch_masks_at_once: int | None = None
    """Of PyTorch's side; None is all."""
    trains: str = "everything"
    """See `finetune.py`, which has the other kinds."""

    def config(self):
        """Return the run's configuration."""
        from samjax.data.masks.mask_data import MaskDataConfig
        from samjax.losses.sam_loss import LossConfig
        from samjax.prompting.interactive import InteractionConfig, Refinement
        from samjax.tasks.promptable import PromptableTraining

        return PromptableTraining(
            model=model_config(self.model, side=self.side, device=self.device),
            data=MaskDataConfig(source="", max_masks=self.masks),
            prompting=InteractionConfig(corrections=self.rounds - 2, refinement=Refinement.LAST),
            loss=LossConfig(loss_size=LOSS_SIZE),
            batch_size=self.photos,
            masks_at_once=self.masks_at_once,
        )

    def scene(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a photo of noise, [h w 3], and discs, [m h w]."""
        draw = np.random.default_rng(0)
        y, x = np.mgrid[: self.side, : self.side]
        centre = draw.uniform(0.2, 0.8, (2, self.masks, 1, 1)) * self.side
        radius = draw.uniform(0.05, 0.2, (self.masks, 1, 1)) * self.side
        photo = draw.integers(0, 256, (self.side, self.side, 3), dtype=np.uint8)
        return photo, np.hypot(y - centre[0], x - centre[1]) < radius


# Speed, and memory as a share of PyTorch's.
TARGETS = {"small": (1.6, 0.4), "vit_b": (1.5, 0.5)}
CASES = {
    "small": Case(model="small", side=512, masks=64, rounds=11, torch_masks_at_once=4),  # its fastest
    "vit_b": Case(model="vit_b", side=1024, masks=16, rounds=3, torch_masks_at_once=1),
}


def samjax(case: Case, folder: str) -> Actions:
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from samjax.core.batches import Batch
    from samjax.interop.tables.sam import SAM
    from samjax.models.sam.sam import Sam
    from samjax.nn.init import Buffer
    from samjax.training.config import StepKeys

    config = case.config()
    photo, masks = case.scene()
    one = Batch(
        image=jnp.asarray(photo),
        valid_size=jnp.array(photo.shape[:2], jnp.int32),
        masks=jnp.asarray(np.packbits(masks, axis=-1)),
        mask_valid=jnp.ones(case.masks, bool),
        record_id=jnp.zeros((), jnp.int32),
    )
    batch = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (case.photos, *leaf.shape)), one)
    graph, params, buffers = nnx.split(jax.jit(lambda: Sam(config.model, rngs=initial_rngs(0)))(), nnx.Param, Buffer)
    params, buffers = nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)
    weights: dict[str, Any] = dict(SAM.to_torch(params, buffers, config.model))
    np.savez(Path(folder) / "weights.npz", **weights)
    optimizer = optax.adamw(0.0, weight_decay=0.1)
    key = jax.random.key(0)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state, batch):
        def objective(params):
            model = nnx.merge(graph, params, buffers)
            loss, _, played = config.play(model, batch, keys=StepKeys(model=key, task=key))
            return loss, played

        (loss, played), gradient = jax.value_and_grad(objective, has_aux=True)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss, played

    state = optimizer.init(params)
    compiled = update.lower(params, state, batch).compile()
    params, state, _, played = compiled(params, state, batch)
    np.savez(Path(folder) / "prompts.npz", coords=played.coords, labels=played.labels)

    def step():
        nonlocal params, state
        params, state, loss, _ = compiled(params, state, batch)
        jax.block_until_ready(params)
        return {"loss": np.asarray(loss)}

    def scores():
        """Return how many buffers of the program hold a score for each pair of the image's tokens."""
        tokens = config.model.grid[0] * config.model.grid[1]
        shapes = re.findall(rf"\[(?:\d+,)*{tokens},{tokens}(?:,\d+)*\]", compiled.as_text() or "")
        return {"scores": np.asarray(len(shapes))}

    return {"step": step, "scores": scores}


def pytorch(case: Case, folder: str) -> Actions:
    import torch
    from frozen_in_torch import freeze
    from reference import reference
    from torch.utils.checkpoint import checkpoint
    from torch_losses import object_loss

    from samjax.core.prompts import PointLabel
    from samjax.nn.pixels import PIXEL_MEAN, PIXEL_STD

    on_cpu = case.device == "cpu"
    if on_cpu:
        torch.set_num_threads(THREADS)
    torch.set_default_device(case.device)
    config = case.config()
    model = reference(config.model, attention="sdpa")
    with np.load(Path(folder) / "weights.npz") as arrays:
        model.load_state_dict({name: torch.as_tensor(array) for name, array in arrays.items()})
    parameters = freeze(model, trains=case.trains)
    model.to(torch.device(case.device))  # type: ignore[arg-type]  # of a decorated method
    encode = model.vision_encoder if on_cpu else torch.compile(model.vision_encoder)
    decode = model.mask_decoder if on_cpu else torch.compile(model.mask_decoder)
    with np.load(Path(folder) / "prompts.npz") as arrays:
        clicks = [
            (torch.as_tensor(coords, device=case.device), torch.as_tensor(labels, device=case.device))
            for coords, labels in zip(arrays["coords"], arrays["labels"], strict=True)
        ]
    photo, masks = case.scene()
    pixels = torch.as_tensor(photo, device=case.device).float()
    pixels = (pixels - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    pixels = pixels.permute(2, 0, 1).expand(case.photos, -1, -1, -1).contiguous()
    at = (2 * torch.arange(LOSS_SIZE) + 1) * case.side // (2 * LOSS_SIZE)
    target = torch.as_tensor(masks, device=case.device)[:, at][:, :, at].float()
    inside = torch.ones_like(target)
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.1, fused=True)

    def prompt(coords: torch.Tensor, labels: torch.Tensor, given: int) -> torch.Tensor:
        """Return the prompt tokens of these masks after so many clicks: those that began with a point, a box."""
        tokens, boxed = [], labels[:, 0] == int(PointLabel.BOX_MIN)
        order = torch.argsort(torch.cat([torch.nonzero(~boxed)[:, 0], torch.nonzero(boxed)[:, 0]]))
        for group, begins_with_box in ((~boxed, False), (boxed, True)):
            if not group.any():
                continue
            points, kinds = coords[group, 2 : 2 + given], labels[group, 2 : 2 + given]
            if not begins_with_box:
                points = torch.cat([coords[group, :1], points], dim=1)
                kinds = torch.cat([labels[group, :1], kinds], dim=1)
            some = points.shape[1] > 0
            tokens.append(
                model.prompt_encoder(
                    input_points=points[None] if some else None,
                    input_labels=kinds[None] if some else None,
                    input_boxes=coords[group, :2].reshape(1, -1, 4) if begins_with_box else None,
                    input_masks=None,
                )[0][0]
            )
        return torch.cat(tokens)[order]

    def play_round(
        embedding: torch.Tensor, positions: torch.Tensor, carried: torch.Tensor, photo: int, group: slice, number: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        coords, labels = clicks[photo][0][group], clicks[photo][1][group]
        count = len(coords)
        sparse = prompt(coords, labels, min(number, case.rounds - 2))
        if number:
            dense = model.prompt_encoder.mask_embed(carried[:, None])
        else:
            grid = embedding.shape[-2:]
            dense = model.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(count, -1, *grid)
        logits, iou = decode(
            image_embeddings=embedding.expand(count, -1, -1, -1),
            image_positional_embeddings=positions.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse[:, None],
            dense_prompt_embeddings=dense,
            multimask_output=number == 0,
        )
        logits, iou = logits[:, 0].float(), iou[:, 0].float()
        best = iou.argmax(dim=1)
        loss = object_loss(logits, iou, target[group], inside[group]).sum() / (case.photos * case.masks)
        return loss, logits[torch.arange(count), best]

    def play_group(embedding: torch.Tensor, photo: int, group: slice) -> torch.Tensor:
        positions = model.get_image_wide_positional_embeddings()
        loss = carried = torch.zeros(())
        for number in range(case.rounds):
            of_round, carried = checkpoint(
                play_round, embedding, positions, carried, photo, group, number, use_reentrant=False
            )
            loss = loss + of_round
        return loss

    with torch.no_grad():
        cache = encode(pixels).last_hidden_state if case.trains == "cached" else None
    at_once = case.torch_masks_at_once or case.masks
    groups = [slice(start, start + at_once) for start in range(0, case.masks, at_once)]

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(case.device, dtype=torch.bfloat16, enabled=not on_cpu):
            embeddings = encode(pixels).last_hidden_state if cache is None else cache
            learns = embeddings.requires_grad
            ends = embeddings.detach().requires_grad_(learns)  # to which each group goes back by itself
            total = torch.zeros(())
            for photo in range(case.photos):
                for group in groups:
                    loss = play_group(ends[photo][None], photo, group)
                    loss.backward()
                    total += loss.detach()
        if learns:
            embeddings.backward(ends.grad)
        optimizer.step()
        return {"loss": total.cpu().numpy()}  # which waits for the device

    return {"step": step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--masks-at-once", type=int, help="of our side, instead of what it chooses")
    parser.add_argument("--torch-masks-at-once", type=int, help="of PyTorch's side, instead of its fastest")
    parser.add_argument("--only", nargs="*", choices=tuple(CASES), default=tuple(CASES))
    arguments = parser.parse_args()
    results, targets = {}, {}
    for name in arguments.only:
        case = CASES[name]
        case = replace(
            case,
            masks_at_once=arguments.masks_at_once,
            torch_masks_at_once=arguments.torch_masks_at_once or case.torch_masks_at_once,
        )
        with tempfile.TemporaryDirectory() as folder:
            ours = Side(samjax, case, folder, libraries=JAX)
            theirs = Side(pytorch, case, folder, libraries=PYTORCH)
            row = f"{name} at {case.side}, {case.masks} masks, {case.rounds} rounds"
            results[row] = compare(ours, theirs, "step", turns=arguments.turns, tolerance=1e-4)
            targets[row] = TARGETS[name]
            ours.close()
            theirs.close()
    print_table(results, targets)


if __name__ == "__main__":
    main()
