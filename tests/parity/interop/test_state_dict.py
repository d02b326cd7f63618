"""State dicts of others: read whole, or refused in a sentence; code in them never runs."""

import argparse
import json
import pickle
import shutil

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from helpers.foreign import Malicious, assert_same

from samjax.core.errors import UserError
from samjax.interop.state_dict import read_state_dict

ARRAYS = {
    "kernel": np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32),
    "bias": np.arange(50, dtype=np.float32),
}


def tensors(arrays=ARRAYS) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(array) for key, array in arrays.items()}


def save_legacy(state, path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("wrap", [None, "model", "state_dict"])
@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_a_file_of_torch(tmp_path, save, wrap):
    """MAE's lies under `model`, beside the epoch."""
    save({wrap: tensors(), "epoch": 800} if wrap else tensors(), tmp_path / "x.pth")
    read = read_state_dict(tmp_path / "x.pth")
    assert_same(read.arrays, ARRAYS)
    assert list(read.sha256) == ["x.pth"]


def test_parameters_are_arrays_too(tmp_path):
    torch.save({key: torch.nn.Parameter(array) for key, array in tensors().items()}, tmp_path / "x.pth")
    assert_same(read_state_dict(tmp_path / "x.pth").arrays, ARRAYS)


def test_the_digest_is_the_files(tmp_path):
    import hashlib

    safetensors.numpy.save_file(ARRAYS, tmp_path / "x.safetensors")
    said = read_state_dict(tmp_path / "x.safetensors").sha256
    assert said == {"x.safetensors": hashlib.sha256((tmp_path / "x.safetensors").read_bytes()).hexdigest()}


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_bfloat16_is_widened_exactly(tmp_path, name):
    halves = {key: array.bfloat16() for key, array in tensors().items()}
    (safetensors.torch.save_file if name.endswith("safetensors") else torch.save)(halves, tmp_path / name)
    assert_same(read_state_dict(tmp_path / name).arrays, {key: array.float().numpy() for key, array in halves.items()})


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_a_type_that_numpy_has_not_is_named(tmp_path, name):
    tiny = {"kernel": torch.zeros(3, dtype=torch.float8_e4m3fn)}
    (safetensors.torch.save_file if name.endswith("safetensors") else torch.save)(tiny, tmp_path / name)
    with pytest.raises(UserError, match=r"kernel is .* NumPy does not have"):
        read_state_dict(tmp_path / name)


def save_shards(folder, name: str) -> None:
    """Two shards and their index, as transformers names them."""
    folder.mkdir(exist_ok=True)
    stem, suffix = name.rsplit(".", 1)
    places = {}
    for number, (key, array) in enumerate(ARRAYS.items(), 1):
        shard = f"{stem}-0000{number}-of-00002.{suffix}"
        places[key] = shard
        if suffix == "bin":
            torch.save(tensors({key: array}), folder / shard)
        else:
            safetensors.numpy.save_file({key: array}, folder / shard)
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_shards(tmp_path, name):
    save_shards(tmp_path / "folder", name)
    read = read_state_dict(tmp_path / "folder")
    assert_same(read.arrays, ARRAYS)
    assert len(read.sha256) == 2
    assert read.config is None


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_with_one_file_and_its_config(tmp_path, name):
    safetensors.numpy.save_file(ARRAYS, tmp_path / name) if "safe" in name else torch.save(tensors(), tmp_path / name)
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    for path in (tmp_path, tmp_path / name):
        read = read_state_dict(path)
        assert_same(read.arrays, ARRAYS)
        assert read.config == {"model_type": "sam"}
    (tmp_path / name).rename(tmp_path / f"other_{name}")
    assert read_state_dict(tmp_path / f"other_{name}").config is None  # of whatever else is in that folder


@pytest.mark.parametrize("place", ["../secret.safetensors", "/etc/passwd", "..", "", "a/b.safetensors"])
def test_an_index_names_files_beside_it_alone(tmp_path, place):
    safetensors.numpy.save_file(ARRAYS, tmp_path / "secret.safetensors")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"kernel": place}}))
    with pytest.raises(UserError, match="which is not a file beside it"):
        read_state_dict(folder)


def test_a_folder_that_is_not_whole(tmp_path):
    with pytest.raises(UserError, match="holds none of model"):
        read_state_dict(tmp_path)
    save_shards(tmp_path, "model.safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match=r"names model-00002-of-00002\.safetensors, which does not exist"):
        read_state_dict(tmp_path)
    shutil.copy(tmp_path / "model-00001-of-00002.safetensors", tmp_path / "model-00002-of-00002.safetensors")
    with pytest.raises(UserError, match="holds kernel, which another file"):
        read_state_dict(tmp_path)
    for text in ("{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}'):
        (tmp_path / "model.safetensors.index.json").write_text(text)
        with pytest.raises(UserError, match=r"model\.safetensors\.index\.json"):
            read_state_dict(tmp_path)


def dump(state, path) -> None:
    with path.open("wb") as file:
        pickle.dump(state, file, protocol=2)


@pytest.mark.parametrize("save", [torch.save, save_legacy, dump])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickle_with_code_is_refused_and_nothing_of_it_runs(tmp_path, save, wrapped):
    """The code is real: Python's own unpickler runs it."""
    mark, path = tmp_path / "owned", tmp_path / "x.pth"
    save({"model": {"x": Malicious(mark), **tensors()}} if wrapped else Malicious(mark), path)
    with pytest.raises(UserError, match=r"it would run \w+\.mkdir, and nothing of it is run"):
        read_state_dict(path)
    assert not mark.exists()
    if save is dump:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert mark.exists()


def test_objects_beside_arrays_are_refused_by_name(tmp_path):
    torch.save({"model": tensors(), "args": argparse.Namespace(lr=1)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"it would run argparse\.Namespace.*save its state dict alone"):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "x.pt"))
    with pytest.raises(UserError, match="TorchScript program, which is not run"):
        read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize("kept", [0, 1, 3, 10, 500, 0.5, 0.99])
@pytest.mark.parametrize("name", ["x.pth", "legacy.pth", "x.safetensors"])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    path = tmp_path / name
    if name.endswith("safetensors"):
        safetensors.numpy.save_file(ARRAYS, path)
    else:
        (save_legacy if name == "legacy.pth" else torch.save)(tensors(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(UserError, match="cut off"):
        read_state_dict(path)


def test_a_flipped_bit_in_a_zip_is_found(tmp_path):
    """torch.load does not compare the sums that torch.save writes."""
    path = tmp_path / "x.pth"
    torch.save(tensors(), path)
    data = bytearray(path.read_bytes())
    data[data.index(ARRAYS["kernel"].tobytes()) + 100] ^= 1
    path.write_bytes(bytes(data))
    torch.load(path, weights_only=True)
    with pytest.raises(UserError, match="is damaged"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (torch.zeros(3), "holds a Tensor, expected a state dict"),
        ({}, "holds a dict, expected a state dict"),
        ({1: torch.zeros(3)}, "holds a dict, expected a state dict"),
        ({"kernel": torch.zeros(3), "epoch": 3}, "epoch is a int, expected an array"),
        ({"kernel": torch.zeros(3).to_sparse()}, "kernel is .*sparse"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path, held, said):
    torch.save(held, tmp_path / "x.pth")
    with pytest.raises(UserError, match=said):
        read_state_dict(tmp_path / "x.pth")


def test_text_and_nothing(tmp_path):
    (tmp_path / "x.pth").write_text("<!doctype html>\n" * 20)
    with pytest.raises(UserError, match="not a file of weights"):
        read_state_dict(tmp_path / "x.pth")
    (tmp_path / "x.safetensors").write_text("<!doctype html>\n" * 20)
    with pytest.raises(UserError, match="not a safetensors file"):
        read_state_dict(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="no such file"):
        read_state_dict(tmp_path / "y.pth")


@pytest.mark.parametrize(("package", "name"), [("torch", "x.pth"), ("safetensors", "x.safetensors")])
def test_a_package_that_is_not_there_is_named_with_its_extra(tmp_path, monkeypatch, package, name):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package {package}: pip install 'samjax\[interop\]'"):
        read_state_dict(tmp_path / name)


def test_a_torch_whose_weights_only_can_be_fooled_is_not_used(tmp_path, monkeypatch):
    torch.save(tensors(), tmp_path / "x.pth")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(UserError, match=r"not read with torch 2\.5\.1"):
        read_state_dict(tmp_path / "x.pth")
