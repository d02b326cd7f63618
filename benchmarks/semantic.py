"""SegFormer-B0 and -B2 and PVT v2 B2 against transformers in PyTorch with SDPA: a photo of 512 pixels, float32, CPU.

    python benchmarks/semantic.py              # ten minutes on two cores; prints the table of docs/benchmarks.md
    python benchmarks/semantic.py --turns 1 --only segformer_b0

transformers' PVT v2 cannot use SDPA, and has its attention in plain products. Each side has its own process, two cores
and two threads, and the sides alternate. Both start from the same weights and see the same photo. A step is forward,
backward and AdamW: of SegFormer with the cross-entropy of logits at the labels' size, of PVT v2, whose whole model
transformers has not, of a sum over its maps. Logits, maps and losses must agree to 1e-4 of their norm. Memory is the
process's peak, excluding what its imported libraries take.
"""

import argparse
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sides import JAX, PYTORCH, THREADS, Actions, Result, Side, compare, print_table

from samjax.nn.rngs import initial_rngs

RATE, DECAY, SIDE, CLASSES = 1e-5, 0.01, 512, 150
TARGETS = {"forward": (1.2, 0.7), "training step": (1.2, 0.7)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model."""

    name: str
    photos: int = 1

    @property
    def has_head(self) -> bool:
        """Whether it is a whole model."""
        return self.name.startswith("segformer")

    def photo(self) -> np.ndarray:
        """Return normalised photos, [n h w 3]."""
        return np.random.default_rng(0).normal(size=(self.photos, SIDE, SIDE, 3)).astype(np.float32)

    def labels(self) -> np.ndarray:
        """Return the class of each pixel, in blocks of 32."""
        blocks = np.random.default_rng(1).integers(0, CLASSES, (self.photos, SIDE // 32, SIDE // 32))
        return blocks.repeat(32, axis=1).repeat(32, axis=2)


def pytorch(case: Case, folder: str) -> Actions:
    import torch
    from transformers import PvtV2Backbone, PvtV2Config, SegformerConfig, SegformerForSemanticSegmentation

    torch.set_num_threads(THREADS)
    attention = "sdpa" if case.has_head else "eager"
    sizes: dict[str, Any] = {"num_encoder_blocks": 4, "attn_implementation": attention, "drop_path_rate": 0.0}
    if case.has_head:
        narrow = case.name.endswith("b0")
        sizes |= {
            "hidden_sizes": [32, 64, 160, 256] if narrow else [64, 128, 320, 512],
            "depths": [2, 2, 2, 2] if narrow else [3, 4, 6, 3],
            "decoder_hidden_size": 256 if narrow else 768,
            "num_labels": CLASSES,
            "classifier_dropout_prob": 0.0,
        }
        model: Any = SegformerForSemanticSegmentation(SegformerConfig(**sizes))
    else:
        sizes |= {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3]}
        sizes["out_features"] = ["stage1", "stage2", "stage3", "stage4"]
        model = PvtV2Backbone(PvtV2Config(**sizes))
    model.save_pretrained(folder)
    image = torch.as_tensor(case.photo()).permute(0, 3, 1, 2).contiguous()
    labels = torch.as_tensor(case.labels())
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, fused=True)

    @torch.no_grad()
    def forward():
        model.eval()
        if case.has_head:
            return {"logits": model(image).logits.permute(0, 2, 3, 1).numpy()}
        return {f"map {n}": one.permute(0, 2, 3, 1).numpy() for n, one in enumerate(model(image).feature_maps)}

    def step():
        model.train()
        optimizer.zero_grad(set_to_none=True)
        if case.has_head:
            loss = model(image, labels=labels).loss
        else:
            loss = torch.stack([(one**2).mean() for one in model(image).feature_maps]).sum()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach().numpy()}

    return {"forward": forward, "training step": step}


def samjax(case: Case, folder: str) -> Actions:
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from samjax.core.batches import SegmentBatch, counted_pixels
    from samjax.losses.pixel_cross_entropy import PixelLossConfig, enlarged_pixel_losses, mean_pixel_loss
    from samjax.nn.init import Buffer

    make, params, buffers = read_weights(case, folder)
    graph = nnx.graphdef(nnx.eval_shape(lambda: make(rngs=initial_rngs(0))))
    params, buffers = (jax.tree.map(jnp.asarray, one) for one in (params, buffers))
    image, optimizer = jnp.asarray(case.photo()), optax.adamw(RATE, weight_decay=DECAY)
    batch = SegmentBatch(
        image=jnp.zeros((case.photos, SIDE, SIDE, 3), jnp.uint8),
        valid_size=jnp.full((case.photos, 2), SIDE, jnp.int32),
        labels=jnp.asarray(case.labels(), jnp.int16),
        record_id=jnp.arange(case.photos, dtype=jnp.int32),
    )

    def merged(params, buffers):
        return nnx.merge(graph, params, buffers)

    @jax.jit
    def see(params, buffers):
        out = merged(params, buffers)(image)
        return out.logits if case.has_head else out

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(params, buffers, state):
        def loss(params):
            model = merged(params, buffers)
            if case.has_head:
                logits, counted = model(image, key=jax.random.key(0)).logits, counted_pixels(batch)
                rows, columns = model.enlargement((logits.shape[1], logits.shape[2]), (SIDE, SIDE))
                losses = enlarged_pixel_losses(logits, batch.labels, counted, rows=rows, columns=columns)
                value = mean_pixel_loss(losses, batch.labels, counted, PixelLossConfig())
            else:
                value = sum(jnp.mean(one**2) for one in model(image))
            return value, nnx.to_pure_dict(nnx.state(model, Buffer))

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), after, state, value

    state = None

    def forward():
        out = see(params, buffers)
        if case.has_head:
            return {"logits": np.asarray(out)}
        return {f"map {n}": np.asarray(one) for n, one in enumerate(out)}

    def step():
        nonlocal params, buffers, state
        state = optimizer.init(params) if state is None else state
        params, buffers, state, value = update(params, buffers, state)
        return {"loss": np.asarray(jax.block_until_ready(value))}

    return {"forward": forward, "training step": step}


def read_weights(case: Case, folder: str) -> tuple[Any, Any, Any]:
    """Return what makes our model, and its parameters and buffers with the weights that transformers saved."""
    import jax.numpy as jnp
    from safetensors.numpy import load_file

    from samjax.core.tree import nest
    from samjax.interop.mapping import Naming, arrays_from_torch, write_out
    from samjax.interop.read_weights import import_weights
    from samjax.interop.tables.pyramid_rows import PVT_V2, pyramid_rows, pyramid_slots
    from samjax.models.pyramid.pyramid import PyramidConfig
    from samjax.nn.structure import array_shapes

    if case.has_head:
        reading = import_weights(folder).reading
        return reading.config.make, reading.params, reading.buffers
    config = PyramidConfig.pvt_v2_b2(epsilon=1e-5)

    def make(*, rngs):
        return config.make(image_size=(SIDE, SIDE), dtype=jnp.dtype("float32"), rngs=rngs)

    table = write_out(
        pyramid_rows(config, prefixes={PVT_V2: ""}), pyramid_slots(config), Naming(name=PVT_V2, title="", signs=())
    )
    arrays = load_file(str(Path(folder) / "model.safetensors"))
    own = {key.removeprefix("pvt_v2."): array for key, array in arrays.items()}
    return make, nest(arrays_from_torch(table, own, array_shapes(make))), {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    names = ("segformer_b0", "segformer_b2", "pvt_v2_b2")
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    arguments = parser.parse_args()
    results: dict[str, Result] = {}
    targets = {}
    for name in arguments.only:
        case = Case(name=name)
        with tempfile.TemporaryDirectory() as folder:
            theirs = Side(pytorch, case, folder, libraries=PYTORCH)
            ours = Side(samjax, case, folder, libraries=JAX)
            for action, target in TARGETS.items():
                row = f"{name}: {action}"
                results[row] = compare(ours, theirs, action, turns=arguments.turns, tolerance=1e-4)
                targets[row] = target
            ours.close()
            theirs.close()
    print_table(results, targets)


if __name__ == "__main__":
    main()
