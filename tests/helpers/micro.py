"""The smallest model with every part, and a run of it: also for experiment files of processes that tests start."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from samjax.core.tree import map_with_names
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import LossConfig
from samjax.models.mae import MaeConfig, MaeDecoderConfig
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.rngs import initial_rngs
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import DropsConfig
from samjax.parallel.mesh import MeshConfig
from samjax.prompting.interactive import InteractionConfig
from samjax.tasks.promptable import ClickValidationConfig, PromptableTraining
from samjax.training.config import CheckpointConfig


def micro_model() -> SamConfig:
    """64 px, two blocks, an embedding of 32."""
    return SamConfig(
        image_size=(64, 64),
        embedding=32,
        image_encoder=ImageEncoderConfig(width=32, depth=2, heads=2, window=3, global_every=2),
        mask_decoder=MaskDecoderConfig(hidden=32, heads=2, dropout=0.0),
        dtype="float32",
    )


def micro_mae(*, visible: int = 6, drop_path: float = 0.0) -> MaeConfig:
    """A masked autoencoder of the same kind: 24 patches, of which it sees `visible`."""
    return MaeConfig(
        image_size=(32, 48),
        encoder=dataclasses.replace(MaeConfig().encoder, patch=8, width=16, depth=2, heads=2, drop_path=drop_path),
        decoder=MaeDecoderConfig(width=16, depth=1, heads=2),
        visible=visible,
        dtype="float32",
    )


def drawn_micro(seed: int = 0) -> Sam:
    """Return the micro model with every parameter drawn, biases too: without compiling its initialisation."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Sam(micro_model(), rngs=initial_rngs(0))))
    generator = np.random.default_rng(seed)

    def draw(path: str, leaf) -> jax.Array:
        noise = generator.normal(size=leaf.shape)
        scaled = 1 + 0.1 * noise if path.endswith("scale") else 0.15 * noise
        return jnp.asarray(noise if path.endswith("gaussian") else scaled, leaf.dtype)

    return nnx.merge(graph, map_with_names(draw, nnx.to_pure_dict(state)))


def micro_run(source: str, **fields) -> PromptableTraining:
    """Six steps on the records in `source`, seconds long; `fields` replace those of the run."""
    run = {
        "model": micro_model(),
        "data": MaskDataConfig(source=source, max_masks=2),
        "prompting": InteractionConfig(corrections=1),
        "loss": LossConfig(loss_size=32),
        "optim": OptimConfig(schedule=DropsConfig(peak_lr=1e-3, warmup_steps=2, milestones=())),
        "mesh": MeshConfig(data=1),
        "validation": ClickValidationConfig(every=100),
        "checkpoint": CheckpointConfig(every=100),
        "steps": 6,
        "batch_size": 2,
        "log_every": 1,
    }
    return PromptableTraining(**{**run, **fields})


def micro_experiment(path: Path, source: Path | str) -> Path:
    """Write an experiment file of the micro run on `source`, eight photos a step on all devices; return `path`."""
    path.write_text(
        "from helpers.micro import micro_run\n"
        "from samjax.parallel.mesh import MeshConfig\n"
        f"def config():\n    return micro_run({str(source)!r}, mesh=MeshConfig(), batch_size=8)\n"
    )
    return path
