"""The image encoder against Hugging Face's `SamModel` in PyTorch with SDPA: ViT-B, one photo at 1024, float32, CPU.

    python benchmarks/encoder.py              # ten minutes on two cores; prints the table of docs/benchmarks.md
    python benchmarks/encoder.py --turns 1 --only forward

Each side has its own process, two cores and two threads, and the sides alternate. Both start from the same weights and
see the same photo; a step is forward, backward and AdamW. The embeddings must agree to 1e-4 of their norm, and so must
the losses. Memory is the process's peak, excluding what its imported libraries take.
"""

import argparse
import functools
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sides import JAX, PYTORCH, THREADS, Actions, Side, compare, model_config, print_table

from samjax.nn.rngs import initial_rngs

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parity"))  # the reference model of the tests

RATE, DECAY = 1e-5, 0.1
TARGETS = {"forward": (1.2, 0.4), "training step": (1.3, 0.5)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """An encoder and the photos it sees at once."""

    model: str = "vit_b"
    side: int = 1024
    photos: int = 1
    device: str = "cpu"
    """As PyTorch calls it. Not on a CPU, both compute in bfloat16 and PyTorch compiles."""

    def config(self):
        """Return the model's config, in a child."""
        return model_config(self.model, side=self.side, device=self.device)

    def photo(self) -> np.ndarray:
        """Return normalised photos, [n h w 3]."""
        return np.random.default_rng(0).normal(size=(self.photos, self.side, self.side, 3)).astype(np.float32)


def towards(shape: tuple[int, ...]) -> np.ndarray:
    """Return the map that a step brings the embedding [n h w c] nearer to."""
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def pytorch(case: Case, weights: str) -> Actions:
    import torch
    from reference import reference

    on_cpu = case.device == "cpu"
    if on_cpu:
        torch.set_num_threads(THREADS)
    model = reference(case.config(), attention="sdpa")
    np.savez(weights, **{name: array.numpy() for name, array in model.state_dict().items()})
    encoder = model.vision_encoder
    encoder.to(torch.device(case.device))  # type: ignore[arg-type]  # of a decorated method
    encode = encoder if on_cpu else torch.compile(encoder)
    image = torch.as_tensor(case.photo(), device=case.device).permute(0, 3, 1, 2).contiguous()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    target = None

    def embed() -> torch.Tensor:
        with torch.autocast(case.device, dtype=torch.bfloat16, enabled=not on_cpu):
            return encode(image).last_hidden_state.permute(0, 2, 3, 1)

    @torch.no_grad()
    def forward():
        return {"embedding": embed().float().cpu().numpy()}

    def step():
        nonlocal target
        optimizer.zero_grad(set_to_none=True)
        embedding = embed()
        if target is None:
            target = torch.as_tensor(towards(tuple(embedding.shape)), device=case.device)
        loss = ((embedding - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach().cpu().numpy()}  # which waits for the device

    return {"forward": forward, "training step": step}


def samjax(case: Case, weights: str) -> Actions:
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from samjax.interop.tables.sam import SAM
    from samjax.models.sam.sam import Sam

    config = case.config()
    encoder = nnx.eval_shape(lambda: Sam(config, rngs=initial_rngs(0))).image_encoder
    graph = nnx.split(encoder, nnx.Param)[0]
    optimizer = optax.adamw(RATE, weight_decay=DECAY)
    with np.load(weights) as arrays:
        params = jax.tree.map(jnp.asarray, SAM.from_torch(dict(arrays), config)[0]["image_encoder"])
    image, target = jnp.asarray(case.photo()), jnp.asarray(towards((case.photos, *config.grid, config.embedding)))

    @jax.jit
    def encode(params, image):
        return nnx.merge(graph, params)(image)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state, image, target):
        loss, gradient = jax.value_and_grad(lambda params: jnp.mean((encode(params, image) - target) ** 2))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = None

    def forward():
        return {"embedding": np.asarray(encode(params, image))}

    def step():
        nonlocal params, state
        state = optimizer.init(params) if state is None else state
        params, state, loss = update(params, state, image, target)
        jax.block_until_ready(params)
        return {"loss": np.asarray(loss)}

    return {"forward": forward, "training step": step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=tuple(TARGETS), default=tuple(TARGETS))
    arguments = parser.parse_args()
    results = {}
    for action in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            weights = str(Path(folder) / "weights.npz")
            theirs = Side(pytorch, Case(), weights, libraries=PYTORCH)
            ours = Side(samjax, Case(), weights, libraries=JAX)
            results[action] = compare(ours, theirs, action, turns=arguments.turns, tolerance=1e-4)
            ours.close()
            theirs.close()
    print_table(results, TARGETS)


if __name__ == "__main__":
    main()
