"""Every test runs with shapes and dtypes checked, and on eight virtual CPU devices."""

import gc
import os
from pathlib import Path

# Before JAX starts. Tests compile for longer than they run: a training step compiles in a third of the time without
# LLVM's optimisations and without XLA's fusion emitters.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false",
    ]
)

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
install_import_hook("samjax", "beartype.beartype")

from kept_programs import settings  # noqa: E402  imports samjax

for name, value in settings().items():
    jax.config.update(name, value)

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


@pytest.fixture(scope="module")
def leftovers_collected():
    """Where a read of Orbax's fails, those it began beside it say so when they are collected: here, not in a test that
    has nothing to do with it."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def micro():
    """The smallest model with every part."""
    from micro import micro_model

    return micro_model()


@pytest.fixture(scope="session")
def micro_run(prepared):
    """A run of the micro model on the shipped photos, seconds long."""
    from micro import micro_run

    return micro_run(str(prepared / "train"))
