"""The image encoder against Hugging Face's `SamModel` in PyTorch with SDPA: ViT-B, one photo at 1024, float32, CPU.

    python benchmarks/encoder.py              # ten minutes on two cores; prints the table of docs/benchmarks.md
    python benchmarks/encoder.py --turns 1 --only forward

Each side has a process of its own, two cores and two threads, and they take turns. Both start from the same weights and
see the same photo; a step is forward, backward and AdamW. The embeddings must agree to 1e-4 of their norm, and the
losses of the steps too. Memory is the process's peak above what it had once its libraries were imported.
"""

import argparse
import functools
import sys
import tempfile
from pathlib import Path

import numpy as np
from sides import JAX, PYTORCH, THREADS, Actions, Side, compare, print_table

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parity"))  # the reference model of the tests

SIDE, RATE, DECAY = 1024, 1e-5, 0.1
TARGETS = {"forward": (1.0, 0.5), "training step": (1.2, 0.6)}


def vit_b():
    """Return the model's config; importing it loads JAX, which only the children do."""
    from samjax.models.sam.config import MaskDecoderConfig, SamConfig

    return SamConfig.vit_b(mask_decoder=MaskDecoderConfig(dropout=0.0), dtype="float32")


def photo() -> np.ndarray:
    """Return a normalised photo, [1 h w 3]."""
    return np.random.default_rng(0).normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)


def towards(shape: tuple[int, ...]) -> np.ndarray:
    """Return the map that a step brings the embedding [1 h w c] nearer to."""
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def pytorch(weights: str) -> Actions:
    import torch
    from reference import reference

    torch.set_num_threads(THREADS)
    model = reference(vit_b(), attention="sdpa")
    np.savez(weights, **{name: array.numpy() for name, array in model.state_dict().items()})
    encoder = model.vision_encoder
    image = torch.as_tensor(photo()).permute(0, 3, 1, 2).contiguous()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=DECAY, fused=True)

    @torch.no_grad()
    def forward():
        return {"embedding": encoder(image).last_hidden_state.permute(0, 2, 3, 1).numpy()}

    def step():
        optimizer.zero_grad(set_to_none=True)
        embedding = encoder(image).last_hidden_state.permute(0, 2, 3, 1)
        loss = ((embedding - torch.as_tensor(towards(tuple(embedding.shape)))) ** 2).mean()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach().numpy()}

    return {"forward": forward, "training step": step}


def samjax(weights: str) -> Actions:
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from samjax.interop.torch_weights import from_torch
    from samjax.models.sam.sam import Sam

    config = vit_b()
    encoder = nnx.eval_shape(lambda: Sam(config, rngs=nnx.Rngs(0))).image_encoder
    graph = nnx.split(encoder, nnx.Param)[0]
    optimizer = optax.adamw(RATE, weight_decay=DECAY)
    with np.load(weights) as arrays:
        params = jax.tree.map(jnp.asarray, from_torch(dict(arrays), config)[0]["image_encoder"])
    image, target = jnp.asarray(photo()), jnp.asarray(towards((1, *config.grid, config.embedding)))

    @jax.jit
    def encode(params):
        return nnx.merge(graph, params)(image)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state):
        loss, gradient = jax.value_and_grad(lambda params: jnp.mean((encode(params) - target) ** 2))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = None

    def forward():
        return {"embedding": np.asarray(encode(params))}

    def step():
        nonlocal params, state
        state = optimizer.init(params) if state is None else state
        params, state, loss = update(params, state)
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
            theirs = Side(pytorch, weights, libraries=PYTORCH)
            ours = Side(samjax, weights, libraries=JAX)
            results[action] = compare(ours, theirs, action, turns=arguments.turns, tolerance=1e-4)
            ours.close()
            theirs.close()
    print_table(results, TARGETS)


if __name__ == "__main__":
    main()
