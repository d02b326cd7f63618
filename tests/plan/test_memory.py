"""What a chip holds, by the shardings alone, against what it holds; what the compiler says of what does not fit."""

import dataclasses

import jax
import pytest

from samjax.nn.adapters import AdaptersConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.plan.memory import OutOfMemoryError, state_bytes
from samjax.training.state import init_state, make_blueprint


@pytest.mark.parametrize(
    ("mesh", "changes"),
    [
        (MeshConfig(), {}),
        (MeshConfig(data=2, fsdp=4), {"ema": 0.9, "adapters": AdaptersConfig(rank=2)}),
        (MeshConfig(data=1, fsdp=2, tensor=4), {}),
    ],
)
def test_state_bytes_are_those_of_a_device_that_holds_it(micro_run, mesh, changes):
    config = dataclasses.replace(micro_run, mesh=mesh, batch_size=8, **changes)
    devices = make_mesh(mesh)
    blueprint = make_blueprint(config, devices)
    counted = state_bytes(config, blueprint, devices)

    state = init_state(blueprint, config, jax.random.key(0))
    held = [
        sum(shard.data.nbytes for leaf in jax.tree.leaves(part) for shard in leaf.addressable_shards[:1])
        for part in ((state.params, state.buffers, state.adapters, state.average), state.opt_state)
    ]
    assert [counted["parameters"], counted["moments"]] == held

    height, width = config.model.image_size
    photos = config.batch_size // (devices.shape["data"] * devices.shape["fsdp"])
    photo = height * width * 3 + 2 * 4 + 4  # pixels, size, id
    mask = height * width // 8 + 1
    assert counted["batch"] == photos * (photo + config.data.max_masks * mask)


@pytest.mark.parametrize(
    ("message", "needed", "available"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (30.50G) "
            "exceeds available HBM (15.75G).",
            30.5,
            15.75,
        ),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 512.00M of 15.75G hbm.", 0.5, 15.75),
        ("RESOURCE_EXHAUSTED: no more", None, None),
    ],
)
def test_what_the_compiler_needs_is_read_from_its_words(message, needed, available):
    error = OutOfMemoryError(message)
    assert error.needed == (None if needed is None else needed * 2**30)
    assert error.available == (None if available is None else available * 2**30)
