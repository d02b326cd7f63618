"""What was saved comes back bit for bit, or is found to be something else."""

import contextlib
import random
import resource
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from samjax.checkpoint.checksums import differences, record
from samjax.checkpoint.manager import Checkpoints, NonFiniteStateError
from samjax.core.errors import CorruptCheckpointError, UserError
from samjax.core.tree import named_leaves
from samjax.data.stream import position
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding, replicated

# Where one of Orbax's reads fails, those it began beside it end after their event loop is closed, and say so to nobody.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("leftovers_collected"),
]


class Position:
    """The least that a stream must be to be saved: where it is, as a real one writes it."""

    def __init__(self, step: int = 0):
        self.step = step

    def get_state(self) -> bytes:
        return position.Position(step=self.step).to_json()

    def set_state(self, state: bytes) -> None:
        self.step = position.Position.from_json(state)[0].step

    def start_prefetch(self) -> None:
        """Nothing is prepared."""


def state(seed: int) -> dict:
    """Arrays of every type that a state has, large enough to be compressed in chunks."""
    draw = np.random.default_rng(seed)
    return {
        "params": {"kernel": jnp.asarray(draw.normal(size=(64, 96)), jnp.float32), "bias": jnp.zeros(96)},
        "buffers": {"gaussian": jnp.asarray(draw.normal(size=(2, 64)), jnp.bfloat16)},
        "opt_state": [{"mu": jnp.asarray(draw.normal(size=(64, 96)), jnp.float32), "count": jnp.int32(seed)}],
        "step": jnp.int32(seed),
    }


LIKE = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state(0))


@pytest.fixture
def saved(tmp_path) -> Path:
    """Checkpoints of steps 1 and 2."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (1, 2):
        checkpoints.save(step, state=state(step), stream=Position(step), config="{}")
    checkpoints.close()
    return tmp_path / "checkpoints"


def restored(folder: Path) -> tuple[int, dict, int]:
    """Return step, state and position of what a run would go on from."""
    checkpoints, position = Checkpoints(folder, keep=3), Position()
    found = checkpoints.restore_newest(like=LIKE, stream=position)
    checkpoints.close()
    assert found is not None
    return *found, position.step


def assert_is(found: tuple[int, dict, int], step: int) -> None:
    assert found[0] == found[2] == step
    for got, expected in zip(jax.tree.leaves(found[1]), jax.tree.leaves(state(step)), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def files(folder: Path, step: int) -> list[Path]:
    return sorted(path for path in (folder / str(step)).rglob("*") if path.is_file())


def test_the_newest_comes_back(saved):
    assert_is(restored(saved), 2)
    assert not (saved.parent / "corrupt").exists()


def test_nothing_is_restored_from_nothing(tmp_path):
    assert Checkpoints(tmp_path, keep=1).restore_newest(like=LIKE, stream=Position()) is None


def flip(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(data))


def cut(path: Path, draw: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data))])


def delete(path: Path, draw: random.Random) -> None:
    del draw
    path.unlink()


def forget_sums(folder: Path, step: int) -> None:
    for path in files(folder, step):
        if path.parent.name == "checksums":
            path.unlink()


DAMAGES = {"flip": flip, "cut": cut, "delete": delete}


def damaged(saved: Path, damage: str, seed: int) -> bool:
    """Damage a file of checkpoint 2; return whether that was found. What is restored is right either way."""
    draw = random.Random(f"{damage} {seed}")
    candidates = [path for path in files(saved, 2) if path.stat().st_size]
    path = draw.choices(candidates, weights=[path.stat().st_size for path in candidates])[0]
    if damage != "flip":
        path = draw.choice(candidates)
    DAMAGES[damage](path, draw)
    found = restored(saved)
    assert_is(found, found[0])
    aside = (saved.parent / "corrupt" / "2").exists()
    assert aside == (found[0] == 1) == (not (saved / "2").exists())
    return aside


def seeds(few: int, many: int) -> list:
    """Return `many` seeds, of which the default run takes a few."""
    return [*range(few), *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(few, many))]


@pytest.mark.parametrize("seed", seeds(4, 30))
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_or_harmless(saved, damage, seed):
    damaged(saved, damage, seed)


def test_a_damaged_position_costs_its_checkpoint_alone(saved, caplog):
    (path,) = (saved / "2" / "data").glob("process_*.json")
    path.write_text(path.read_text().replace('"step": 2', '"step": 3'))
    assert_is(restored(saved), 1)
    assert "checkpoint 2 is not used: the position in the data is damaged" in caplog.text


def retyped(saved: Path, seed: int) -> tuple[str, str]:
    """Save one array of checkpoint 2 again, as whole as ever, in another type; return its name and that type."""
    draw = random.Random(seed)
    leaves, tree = jax.tree.flatten(state(2))
    which = draw.randrange(len(leaves))
    kinds = [jnp.float32, jnp.bfloat16, jnp.float16, jnp.int32, jnp.uint8, jnp.bool_]
    kind = jnp.dtype(draw.choice([kind for kind in kinds if kind != leaves[which].dtype]))
    leaves[which] = leaves[which].astype(kind)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(saved / "2" / "state", jax.tree.unflatten(tree, leaves), force=True)
    return list(named_leaves(state(2)))[which], kind.name


@pytest.mark.parametrize("seed", seeds(2, 32))
def test_an_array_of_another_type_is_named(saved, seed, caplog):
    name, kind = retyped(saved, seed)
    assert_is(restored(saved), 1)
    assert f"checkpoint 2 is not used: {name} has dtype {kind}, saved " in caplog.text


def test_a_flipped_bit_of_an_array_is_named(saved, caplog):
    """In the middle of the largest file: numbers, whatever Orbax calls it."""
    largest = max(files(saved, 2), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 4
    largest.write_bytes(bytes(data))
    assert_is(restored(saved), 1)
    assert "checkpoint 2 is not used: " in caplog.text


def test_other_contents_are_named(saved):
    """As Orbax would load them: the array is whole, and another one."""
    arrays, finite = record(state(2))
    assert finite
    other = state(2)
    other["params"]["kernel"] = other["params"]["kernel"].at[3, 5].add(1e-6)
    assert differences(arrays, other) == ["params/kernel has other contents than were saved"]
    other = state(2)
    other["buffers"]["gaussian"] = other["buffers"]["gaussian"].astype(jnp.float32)
    assert differences(arrays, other) == ["buffers/gaussian has dtype float32, saved bfloat16"]
    other = state(2)
    del other["opt_state"][0]["mu"]
    assert differences(arrays, other) == ["opt_state/0/mu is missing"]
    assert differences(arrays, state(2)) == []


def test_a_damaged_shape_is_no_other_model(saved):
    """The record and Orbax's own metadata disagree: the checkpoint is corrupt, and the one before it is used."""
    (path,) = (path for path in files(saved, 2) if path.parent.name == "checksums" and "[64, 96]" in path.read_text())
    path.write_text(path.read_text().replace("[64, 96]", "[65, 96]"))
    assert_is(restored(saved), 1)


def test_sums_see_any_single_bit_and_swapped_numbers():
    x = state(1)["params"]["kernel"]
    sums = record({"x": x})[0]["x"]["sums"]
    words = np.asarray(x).view(np.uint32)
    for index, bit in [((0, 0), 31), ((63, 95), 0), ((17, 4), 22)]:
        changed = words.copy()
        changed[index] ^= np.uint32(1 << bit)
        assert record({"x": jnp.asarray(changed.view(np.float32))})[0]["x"]["sums"] != sums
    swapped = words.copy()
    swapped[0, 0], swapped[0, 1] = words[0, 1], words[0, 0]
    assert record({"x": jnp.asarray(swapped.view(np.float32))})[0]["x"]["sums"] != sums
    assert record({"x": x.T})[0]["x"]["sums"] != sums


def test_sums_do_not_depend_on_how_an_array_is_split():
    mesh = make_mesh(MeshConfig(data=8))
    x = state(1)
    one = record(x)
    split = jax.device_put({"params": x["params"]}, replicated(mesh))
    split["params"]["kernel"] = jax.device_put(x["params"]["kernel"], batch_sharding(mesh))
    assert record(split)[0] == {name: one[0][name] for name in record(split)[0]}


def test_a_state_that_is_not_finite_is_not_saved(saved):
    checkpoints = Checkpoints(saved, keep=3)
    broken = state(3)
    broken["opt_state"][0]["mu"] = broken["opt_state"][0]["mu"].at[7, 7].set(jnp.inf)
    with pytest.raises(NonFiniteStateError, match=r"step 3 .* last checkpoint is of step 2"):
        checkpoints.save(3, state=broken, stream=Position(3), config="{}")
    checkpoints.close()
    assert_is(restored(saved), 2)


def test_a_first_state_that_is_not_finite_says_that_nothing_is_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    broken = {**state(3), "step": jnp.float32(jnp.nan)}
    with pytest.raises(NonFiniteStateError, match="nothing has been saved yet: start again with a lower learning rate"):
        checkpoints.save(3, state=broken, stream=Position(3), config="{}")
    checkpoints.close()


def test_where_none_is_whole_nothing_is_begun_anew(saved):
    for step in (1, 2):
        for path in files(saved, step):
            cut(path, random.Random(step)) if path.stat().st_size else None
    for _ in range(2):  # nor when asked again
        with pytest.raises(UserError, match=r"no checkpoint in .* is whole; 1, 2 are in .*new --workdir"):
            restored(saved)
    assert {path.name for path in (saved.parent / "corrupt").iterdir()} == {"1", "2"}


def test_a_step_is_saved_again_after_its_checkpoint_was_put_aside(saved):
    forget_sums(saved, 2)
    checkpoints, position = Checkpoints(saved, keep=3), Position()
    found = checkpoints.restore_newest(like=LIKE, stream=position)
    assert found is not None
    assert found[0] == 1
    checkpoints.save(2, state=state(2), stream=Position(2), config="{}")
    checkpoints.close()
    assert_is(restored(saved), 2)


def test_a_corrupt_checkpoint_asked_for_by_step_is_refused(saved):
    forget_sums(saved, 2)
    checkpoints = Checkpoints(saved, keep=3)
    with pytest.raises(CorruptCheckpointError, match="cannot be read"):
        checkpoints.restore(2, like=LIKE, stream=Position())
    checkpoints.close()


@contextlib.contextmanager
def full_disk():
    """Let no file grow beyond a few bytes, as a disk without room does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_heard_of_and_harms_nothing(saved):
    """Before the next save: the loop asks every step. What was there stays, though one alone is kept."""
    checkpoints = Checkpoints(saved, keep=1)

    def save_and_go_on() -> None:
        checkpoints.save(3, state=state(3), stream=Position(3), config="{}")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            checkpoints.check()
            time.sleep(0.01)

    with full_disk(), pytest.raises(Exception, match="File too large"):
        save_and_go_on()
    assert_is(restored(saved), 2)


def test_other_devices_go_on(tmp_path):
    """Saved by eight devices, restored on one and on two, and found to be the same by the same sums."""

    def like(count: int) -> dict:
        whole = replicated(make_mesh(MeshConfig(data=count), jax.devices()[:count]))
        rows = batch_sharding(make_mesh(MeshConfig(data=count), jax.devices()[:count]))
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=rows if leaf.shape[:1] == (64,) else whole
            ),
            LIKE,
        )

    checkpoints = Checkpoints(tmp_path, keep=3)
    split = jax.tree.map(lambda leaf, shape: jax.device_put(leaf, shape.sharding), state(5), like(8))
    assert len(split["params"]["kernel"].addressable_shards) == 8
    checkpoints.save(5, state=split, stream=Position(5), config="{}")
    checkpoints.wait()
    for count in (1, 2):
        found = checkpoints.restore_newest(like=like(count), stream=Position())
        assert found is not None
        assert_is((*found, 5), 5)
        assert len(found[1]["params"]["kernel"].sharding.device_set) == count
    checkpoints.close()
