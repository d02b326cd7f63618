"""Ten updates of a whole SegFormer, batch norm included, against transformers' in PyTorch, float32."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from agreement import norm_error
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from samjax.core.batches import SegmentBatch
from samjax.core.tree import map_with_names, named_leaves
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.interop.read_weights import import_weights
from samjax.nn.pixels import normalise
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import ConstantConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.tasks.semantic import SemanticTraining
from samjax.training.state import init_state, make_blueprint
from samjax.training.step import make_train_step

STEPS, PHOTOS, SIDE, CLASSES, RATE = 10, 2, 64, 5, 1e-3
SIZES = {"hidden_sizes": [8, 16, 20, 32], "depths": [1, 1, 1, 1], "decoder_hidden_size": 16, "num_labels": CLASSES}
WITHOUT_NOISE = {"drop_path_rate": 0.0, "classifier_dropout_prob": 0.0, "semantic_loss_ignore_index": 255}


def their_model() -> SegformerForSemanticSegmentation:
    model = SegformerForSemanticSegmentation(SegformerConfig(**SIZES, **WITHOUT_NOISE))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            deviation = 1 / math.sqrt(weight[0].numel()) if weight.ndim > 1 else 0.1
            drawn = deviation * torch.randn(weight.shape, generator=generator)
            weight.copy_(drawn + ("norm" in name and name.endswith("weight")))
    return model


def is_decayed(name: str) -> bool:
    return "norm" not in name and not name.endswith("bias")


@pytest.mark.slow
def test_ten_steps(agrees, tmp_path):
    """Losses, the way of all parameters, and the running statistics."""
    theirs = their_model()
    theirs.save_pretrained(tmp_path)
    reading = import_weights(tmp_path).reading
    config = SemanticTraining(
        model=dataclasses.replace(reading.config, image_size=(SIDE, SIDE)),
        data=SegmentDataConfig(source="x"),
        optim=OptimConfig(
            schedule=ConstantConfig(peak_lr=RATE, warmup_steps=0),
            weight_decay=0.05,
            layer_decay=1.0,
            epsilon=1e-5,  # above the gradients' rounding, as in test_adamw.py
            clip_norm=0.0,
        ),
        mesh=MeshConfig(data=1),
        batch_size=PHOTOS,
        steps=STEPS,
    )
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (PHOTOS, SIDE, SIDE, 3), dtype=np.uint8)
    labels = draw.integers(-1, CLASSES, (PHOTOS, SIDE // 8, SIDE // 8)).repeat(8, 1).repeat(8, 2).astype(np.int16)
    batch = SegmentBatch(
        image=jnp.asarray(image),
        valid_size=jnp.full((PHOTOS, 2), SIDE, jnp.int32),
        labels=jnp.asarray(labels),
        record_id=jnp.arange(PHOTOS, dtype=jnp.int32),
    )
    pixels = torch.tensor(np.asarray(normalise(batch.image))).permute(0, 3, 1, 2).contiguous()
    targets = torch.tensor(np.where(labels < 0, 255, labels).astype(np.int64))
    groups = [
        {"params": [weight], "weight_decay": 0.05 if is_decayed(name) else 0.0}
        for name, weight in theirs.named_parameters()
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-5)
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    blueprint, run = make_blueprint(config, mesh), jax.random.key(0)
    with jax.set_mesh(mesh):
        state = jax.jit(lambda key: init_state(blueprint, config, key))(run)
        start = named_leaves(reading.params) | named_leaves(reading.buffers)
        params, buffers = (
            map_with_names(lambda name, _: jnp.asarray(start[name]), tree) for tree in (state.params, state.buffers)
        )
        state = dataclasses.replace(state, params=params, buffers=buffers)
        step = jax.jit(make_train_step(config, blueprint))
        theirs.train()
        for _ in range(STEPS):
            state, metrics = step(state, batch, run)
            optimizer.zero_grad()
            expected = theirs(pixels, labels=targets).loss
            expected.backward()
            optimizer.step()
            agrees("SegFormer, losses of ten steps", metrics["loss"], expected.detach().numpy(), 1e-4)
    theirs.save_pretrained(tmp_path / "after")
    after = import_weights(tmp_path / "after").reading
    moved, statistics = named_leaves(state.params), named_leaves(state.buffers)
    their_moved, their_statistics = named_leaves(after.params), named_leaves(after.buffers)
    way, their_way = (
        np.concatenate([np.ravel(np.asarray(end[name]) - start[name]) for name in sorted(moved)])
        for end in (moved, their_moved)
    )
    agrees("SegFormer, way of ten AdamW steps", way, their_way, 1e-4, measure=norm_error)
    assert statistics.keys() == their_statistics.keys()
    for name, found in statistics.items():
        agrees("SegFormer, running statistics after ten steps", found, their_statistics[name], 1e-4)
