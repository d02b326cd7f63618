"""A step of fine-tuning against a plain PyTorch loop over `SamModel` with the same parameters frozen, float32, CPU.

    python benchmarks/finetune.py                  # an hour on two cores; prints the table of docs/benchmarks.md
    python benchmarks/finetune.py --size small --turns 1

Four kinds of runs: everything is trained; the decoder, that is mask decoder and prompt encoder, alone; the same with
cached embeddings of the photo (`--cache-embeddings`; PyTorch's loop keeps them too); and with low-rank adapters in the
encoder, which PyTorch's loop has by hand. Our side is the trainer's own step. Otherwise as in `train_step.py`: the same
weights, photo, masks and clicks, AdamW at a rate too small to change anything, losses that agree to 1e-4.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from frozen_in_torch import ALPHA, RANK
from sides import JAX, PYTORCH, Actions, Result, Side, compare, print_table
from train_step import Case, pytorch

SPEED, CACHED_SPEED = 1.2, 3.0
"""How much faster than PyTorch's each step is to be, and than the decoder's own the one with cached embeddings."""
KINDS = ("everything", "decoder", "cached", "adapters")
CASES = {
    "small": Case(model="small", side=256, masks=8, rounds=3, torch_masks_at_once=4),
    "vit_b": Case(model="vit_b", side=1024, masks=16, rounds=3, torch_masks_at_once=1),
}


def run_config(case: Case) -> Any:
    """Return the configuration of the run that such a step is of."""
    from samjax.nn.adapters import AdaptersConfig
    from samjax.optim.build import OptimConfig
    from samjax.optim.schedule import ConstantConfig
    from samjax.parallel.mesh import MeshConfig

    config = dataclasses.replace(
        case.config(),
        mesh=MeshConfig(data=1),
        optim=OptimConfig(schedule=ConstantConfig(peak_lr=1e-30, warmup_steps=0), clip_norm=0.0),
    )
    if case.trains == "everything":
        return config
    adapters = AdaptersConfig(rank=RANK, alpha=ALPHA) if case.trains == "adapters" else AdaptersConfig()
    return dataclasses.replace(config, trainable=("mask_decoder/**", "prompt_encoder/**"), adapters=adapters)


def samjax(case: Case, folder: str) -> Actions:
    import jax
    import jax.numpy as jnp

    from samjax.core.batches import Batch
    from samjax.core.random import Stream, derive
    from samjax.interop.tables.sam import SAM
    from samjax.parallel.mesh import make_mesh
    from samjax.training.config import StepKeys
    from samjax.training.state import init_state, make_blueprint
    from samjax.training.step import make_train_step

    config, run = run_config(case), jax.random.key(0)
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    blueprint = make_blueprint(config, mesh)
    photo, masks = case.scene()
    batch = Batch(
        image=jnp.asarray(photo)[None],
        valid_size=jnp.array([photo.shape[:2]], jnp.int32),
        masks=jnp.asarray(np.packbits(masks, axis=-1))[None],
        mask_valid=jnp.ones((1, case.masks), bool),
        record_id=jnp.zeros(1, jnp.int32),
    )
    with jax.set_mesh(mesh):
        state = init_state(blueprint, config, run)
        weights: dict[str, Any] = dict(SAM.to_torch(state.params, state.buffers, config.model))
        np.savez(Path(folder) / "weights.npz", **weights)
        embed = jax.jit(lambda params, buffers, batch: config.embed(blueprint.model(params, buffers), batch))
        embedding = embed(state.params, state.buffers, batch)
        keys = StepKeys(model=derive(run, Stream.MODEL), task=derive(run, Stream.TASK))
        play = jax.jit(
            lambda params, buffers, batch: config.play(blueprint.model(params, buffers), batch, keys=keys)[2]
        )
        with_embedding = dataclasses.replace(batch, image=None, embedding=embedding)
        played = play(state.params, state.buffers, with_embedding)
        np.savez(Path(folder) / "prompts.npz", coords=played.coords, labels=played.labels)
        batch = with_embedding if case.trains == "cached" else batch
        step = jax.jit(make_train_step(config, blueprint), donate_argnums=0).lower(state, batch, run).compile()

    def take_step():
        nonlocal state
        state, metrics = step(state, batch, run)
        state = dataclasses.replace(state, step=jnp.zeros((), jnp.int32))  # the same draws at every turn
        jax.block_until_ready(state)
        return {"loss": np.asarray(metrics["loss"])}

    return {"step": take_step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--size", choices=tuple(CASES), default="vit_b", help="small is quick, to try the benchmark")
    parser.add_argument("--only", nargs="*", choices=KINDS, default=KINDS)
    arguments = parser.parse_args()
    results: dict[str, Result] = {}
    for kind in arguments.only:
        case = dataclasses.replace(CASES[arguments.size], trains=kind)
        with tempfile.TemporaryDirectory() as folder:
            ours = Side(samjax, case, folder, libraries=JAX)
            theirs = Side(pytorch, case, folder, libraries=PYTORCH)
            results[kind] = compare(ours, theirs, "step", turns=arguments.turns, tolerance=1e-4)
            ours.close()
            theirs.close()
    case = CASES[arguments.size]
    rows = {f"{arguments.size} at {case.side}, {case.masks} masks, {case.rounds} rounds: {name}": result
            for name, result in results.items()}  # fmt: skip
    print_table(rows, dict.fromkeys(rows, (SPEED, None)))
    if {"decoder", "cached"} <= set(results):
        ratio = results["decoder"].ours.seconds / results["cached"].ours.seconds
        print(f"cached embeddings make our decoder's step {ratio:.2f}x as fast (>= {CACHED_SPEED}x)")


if __name__ == "__main__":
    main()
