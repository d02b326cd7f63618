"""Every test runs with shapes and dtypes checked, and on eight virtual CPU devices."""

import os
import tempfile
from pathlib import Path

# Before JAX starts. Tests compile for longer than they run: without LLVM's optimisations a step of `tiny` compiles in
# half the time.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
install_import_hook("samjax", "beartype.beartype")

# Tests that run the same program compile it once.
_compiled = tempfile.TemporaryDirectory(prefix="samjax_compiled_")
jax.config.update("jax_compilation_cache_dir", _compiled.name)

PHOTOS = Path(__file__).parent.parent / "experiments" / "sam" / "photos"


@pytest.fixture(scope="session")
def photos():
    """Folder of the photos shipped with the demo."""
    return PHOTOS


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Folder with the shipped photos as ArrayRecord, train/ and val/."""
    from data_pipelines.sa1b import prepare

    out = tmp_path_factory.mktemp("prepared")
    for split in ("train", "val"):
        prepare(str(PHOTOS / split), out / split, split=split)
    return out


@pytest.fixture(scope="session")
def micro():
    """The smallest model with every part: 64 px, two blocks, an embedding of 32."""
    from samjax.models.sam.config import ImageEncoderConfig, MaskDecoderConfig, SamConfig

    return SamConfig(
        image_size=(64, 64),
        embedding=32,
        image_encoder=ImageEncoderConfig(width=32, depth=2, heads=2, window=3, global_every=2),
        mask_decoder=MaskDecoderConfig(hidden=32, heads=2, dropout=0.0),
        dtype="float32",
    )


@pytest.fixture(scope="session")
def micro_run(micro, prepared):
    """A run of the micro model on the shipped photos, seconds long."""
    from samjax.data.pipeline import DataConfig
    from samjax.losses.sam import LossConfig
    from samjax.optim.build import OptimConfig
    from samjax.optim.schedule import ScheduleConfig
    from samjax.parallel.mesh import MeshConfig
    from samjax.prompting.interactive import InteractionConfig
    from samjax.train.config import CheckpointConfig, TrainConfig, ValidationConfig

    return TrainConfig(
        model=micro,
        data=DataConfig(source=str(prepared / "train"), max_masks=2),
        prompting=InteractionConfig(corrections=1),
        loss=LossConfig(loss_size=32),
        optim=OptimConfig(schedule=ScheduleConfig(peak_lr=1e-3, warmup_steps=2, milestones=())),
        mesh=MeshConfig(data=1),
        validation=ValidationConfig(every=100),
        checkpoint=CheckpointConfig(every=100),
        steps=6,
        batch_size=2,
        log_every=1,
    )
