"""Weights alone: out of a run's checkpoint, into a folder, and what is wrong with either."""

import json

import jax
import numpy as np
import pytest
from flax import nnx

from samjax.checkpoint.manager import Checkpoints
from samjax.checkpoint.weights import find_checkpoint, load_weights, save_weights
from samjax.core.errors import CorruptCheckpointError, UserError
from samjax.core.json_config import from_json, to_json
from samjax.core.tree import named_leaves
from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.init import Buffer
from samjax.nn.structure import model_with

# See tests/checkpoint/test_checkpoints.py.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("leftovers_collected"),
]


class Position:
    """Of a stream, as a checkpoint keeps it."""

    def get_state(self) -> bytes:
        return b"{}"

    def set_state(self, state: bytes) -> None:
        pass


@pytest.fixture(scope="module")
def arrays(micro):
    _, params, buffers = nnx.split(Sam(micro, rngs=nnx.Rngs(3)), nnx.Param, Buffer)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)


@pytest.fixture(scope="module")
def workdir(arrays, micro, tmp_path_factory):
    """Of a run that saved at steps 9 and 10, the second time with other weights."""
    folder = tmp_path_factory.mktemp("run")
    checkpoints = Checkpoints(folder / "checkpoints", keep=3)
    params, buffers = arrays
    for step in (9, 10):
        state = {
            "params": jax.tree.map(lambda leaf, step=step: leaf + step, params),
            "buffers": buffers,
            "opt_state": {"mu": params},
            "step": np.int32(step),
        }
        config = json.dumps({"model": json.loads(to_json(micro)), "steps": 10})
        checkpoints.save(step, state=state, stream=Position(), config=config)
        checkpoints.wait()
    checkpoints.close()
    return folder


def assert_same(found, expected):
    found, expected = named_leaves(found), named_leaves(expected)
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)


@pytest.mark.parametrize(("place", "step"), [("", 10), ("checkpoints", 10), ("checkpoints/9", 9)])
def test_a_runs_weights_are_its_newest_or_the_step_that_is_named(place, step, workdir, arrays, micro):
    weights = load_weights(workdir / place)
    assert_same(weights.params, jax.tree.map(lambda leaf: leaf + step, arrays[0]))
    assert_same(weights.buffers, arrays[1])
    assert weights.path.name == str(step)
    assert from_json(SamConfig, weights.config["model"]) == micro
    assert weights.config["steps"] == 10


def test_a_folder_of_weights_gives_back_what_was_saved(arrays, tmp_path):
    params, buffers = arrays
    save_weights(tmp_path / "weights", params=params, buffers=buffers, config={"model": {"embedding": 32}})
    weights = load_weights(tmp_path / "weights")
    assert_same(weights.params, params)
    assert_same(weights.buffers, buffers)
    assert weights.config == {"model": {"embedding": 32}}
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_a_backbone_alone_is_a_folder_too(arrays, tmp_path):
    backbone = {"image_encoder": arrays[0]["image_encoder"]}
    save_weights(tmp_path / "backbone", params=backbone, buffers={}, config={"model": {}})
    weights = load_weights(tmp_path / "backbone")
    assert_same(weights.params, backbone)
    assert weights.buffers == {}


def test_nothing_is_written_over(arrays, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="mine exists already"):
        save_weights(tmp_path / "mine", params=arrays[0], buffers=arrays[1], config={})
    assert not list((tmp_path / "mine").iterdir())


def test_weights_that_are_not_finite_are_not_saved(arrays, tmp_path):
    params = jax.tree.map(lambda leaf: leaf.at[(0,) * leaf.ndim].set(np.nan), arrays[0])
    with pytest.raises(UserError, match="non-finite"):
        save_weights(tmp_path / "weights", params=params, buffers=arrays[1], config={})
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_no_checkpoint_is_one_sentence(place, tmp_path):
    with pytest.raises(UserError, match=r"no (such folder|checkpoint in it); give the --workdir of a run"):
        find_checkpoint(tmp_path / place)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: flip(largest(folder / "state")), "is damaged"),
        (lambda folder: cut(largest(folder / "state")), "is damaged: it cannot be read"),
        (lambda folder: (folder / "checksums" / "metadata").write_text("{}"), "its record names no parameters"),
        (lambda folder: (folder / "config" / "metadata").write_text("{"), "is damaged: it cannot be read"),
    ],
    ids=["a bit", "a cut", "no record", "no config"],
)
def test_damaged_weights_are_refused(spoil, sentence, arrays, tmp_path):
    params, buffers = arrays
    save_weights(tmp_path / "weights", params=params, buffers=buffers, config={"model": {}})
    spoil(tmp_path / "weights")
    with pytest.raises(CorruptCheckpointError, match=sentence) as error:
        load_weights(tmp_path / "weights")
    assert str(tmp_path / "weights") in str(error.value)
    assert "give another checkpoint" in str(error.value)


def test_weights_that_are_pointers_of_git_lfs_are_named_as_such(arrays, tmp_path):
    params, buffers = arrays
    save_weights(tmp_path / "weights", params=params, buffers=buffers, config={"model": {}})
    file = largest(tmp_path / "weights" / "state")
    file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 375042383\n")
    with pytest.raises(CorruptCheckpointError, match=r"is a Git LFS pointer.*\(1 such files in .*weights\)") as error:
        load_weights(tmp_path / "weights")
    assert str(file) in str(error.value)


def test_a_file_system_in_trouble_is_no_damage(arrays, tmp_path, monkeypatch):
    """Nobody is told to throw away a checkpoint that a permission or a disk keeps from being read."""
    params, buffers = arrays
    save_weights(tmp_path / "weights", params=params, buffers=buffers, config={"model": {}})

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("orbax.checkpoint.Checkpointer.restore", refuse)
    with pytest.raises(UserError, match=r"weights is there, but it cannot be read: .*Permission denied") as error:
        load_weights(tmp_path / "weights")
    assert not isinstance(error.value, CorruptCheckpointError)


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_weights_of_another_model_name_what_differs(arrays, micro):
    params = {**arrays[0], "colour": {"bias": np.zeros(3)}}
    with pytest.raises(UserError, match=r"first colour/bias, \(3,\), expected none"):
        model_with(micro.make, params=params, buffers=arrays[1])
    params = {name: part for name, part in arrays[0].items() if name != "mask_decoder"}
    with pytest.raises(UserError, match=r"mine are not of the model .* first mask_decoder/\S+, missing, expected \("):
        model_with(micro.make, params=params, buffers=arrays[1], what="mine")
