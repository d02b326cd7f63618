"""Reads PyTorch state dicts from files and folders as NumPy arrays, without ever running code in them."""

import hashlib
import json
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samjax.core.errors import UserError
from samjax.core.git_lfs import refuse_lfs_pointer
from samjax.interop.npz import read_npz

_DEEPEST = 2
"""Keys above a state dict in a training checkpoint, as in `checkpoint["model"]["state_dict"]`."""
_FLAT = (".safetensors", ".npz")
_FOLDER = ("model.safetensors", "pytorch_model.bin")
_INSTALL = "pip install 'samjax[interop]'"
_SAFE_TORCH = (2, 6)  # before it, weights_only could be made to run code


@dataclass(frozen=True, kw_only=True)
class StateDict:
    """Arrays of a file, or of a folder that transformers saved."""

    arrays: dict[str, np.ndarray]
    """By key; bfloat16 as float32, other types as they are."""
    sha256: dict[str, str]
    """Of each file read, by its name."""
    config: dict[str, Any] | None = None
    """The folder's config.json, where there is one."""
    under: str = ""
    """The key of the state dict in a training checkpoint, as in `model` or `model.state_dict`; none where it is all."""


def read_state_dict(path: str | Path, *, under: str | None = None) -> StateDict:
    """Read `.safetensors`, `.npz`, `.pth`, `.pt` or `.bin`, or a folder with those of transformers, in shards or whole.

    The state dict of a training checkpoint is found under any key; `under` chooses one of several.

    Raises:
      UserError: there is no such file, it is cut off or damaged, it would run code, or it holds something else.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; give .safetensors, .npz, .pth or a folder of this machine")
    files = _files(path) if path.is_dir() else [path]
    arrays: dict[str, np.ndarray] = {}
    places: dict[str, None] = {}
    for file in files:
        part, place = _read(file, under)
        places[place] = None
        if twice := sorted(part.keys() & arrays.keys()):
            raise UserError(f"{file} holds {twice[0]}, which another file of {path} holds too: give one of them")
        arrays |= part
    sums = {file.name: _sha256(file) for file in files}
    return StateDict(arrays=arrays, sha256=sums, config=_config(path), under=" and ".join(filter(None, places)))


def _config(path: Path) -> dict[str, Any] | None:
    """Return the config.json of a folder, or of the folder whose weights a file is by its name."""
    config = (path if path.is_dir() else path.parent) / "config.json"
    is_beside = path.is_dir() or path.name in _FOLDER
    return _json(config) if is_beside and config.is_file() else None


def _files(folder: Path) -> list[Path]:
    """Return the files of weights in a folder, its shards by its index."""
    for name in _FOLDER:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            places = _json(index).get("weight_map")
            if not isinstance(places, dict) or not places or not all(isinstance(x, str) for x in places.values()):
                raise UserError(f"{index} has no weight_map from keys to files: save the model again")
            names = sorted(set(places.values()))
            for shard in names:
                if Path(shard).name != shard or shard in ("", ".", ".."):
                    raise UserError(f"{index} names {shard!r}, which is not a file beside it, and is not read")
                if not (folder / shard).is_file():
                    raise UserError(f"{index} names {shard}, which does not exist: download the whole folder")
            return [folder / shard for shard in names]
    raise UserError(f"{folder} holds none of {', '.join(_FOLDER)} or their index: give the file of weights itself")


def _json(path: Path) -> dict[str, Any]:
    refuse_lfs_pointer(path)
    try:
        said = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): download it again") from error
    if not isinstance(said, dict):
        raise UserError(f"{path} holds {said!r:.40}, expected a JSON object")
    return said


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, under: str | None) -> tuple[dict[str, np.ndarray], str]:
    """Return a file's arrays, and the key in the file that they are under."""
    refuse_lfs_pointer(path)
    if path.suffix not in _FLAT:
        return _read_torch(path, under)
    if under is not None:
        raise UserError(f"{path} is a {path.suffix} file, which has no keys above its arrays: remove --under {under}")
    return (_read_safetensors if path.suffix == ".safetensors" else read_npz)(path), ""


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        import safetensors
    except ImportError as error:
        raise UserError(f"{path} needs the package safetensors: {_INSTALL}") from error
    arrays = {}
    try:
        with safetensors.safe_open(path, "numpy") as file:
            for key in file.keys():  # noqa: SIM118  (not a dictionary)
                try:
                    arrays[key] = _plain(file.get_tensor(key))
                except (AttributeError, TypeError) as error:
                    raise UserError(
                        f"{path}: {key} is of a type that NumPy does not have ({error}): give float32"
                    ) from error
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is cut off, or not a safetensors file ({error}): download it again") from error
    return arrays


def _plain(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _read_torch(path: Path, under: str | None) -> tuple[dict[str, np.ndarray], str]:
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{path} needs the package torch: {_INSTALL}, or save it as .safetensors") from error
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _SAFE_TORCH:
        raise UserError(f"{path} is not read with torch {torch.__version__}, which may run its code: {_INSTALL}")
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    if zipped:
        _check_sums(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what cannot be read is said below
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file torch makes errors of every type
        raise UserError(f"{path} {_why(str(error))}") from error
    state, place = _unwrapped(loaded, path, under)
    return {key: _numpy(value, f"{path}: {key}") for key, value in state.items()}, place


def _check_sums(path: Path) -> None:
    """Refuse a zip whose members are not what was written: torch itself does not look."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{path} is cut off or damaged ({error}): download it again") from error
    if damaged is not None:
        raise UserError(f"{path} is damaged, {damaged} in it has another checksum: download it again")


def _why(message: str) -> str:
    """Return what is wrong with a file in place of torch's paragraph, whose advice is to run its code."""
    if named := re.search(r"GLOBAL ([\w.]+)", message):
        return (
            f"holds more than arrays: it would run {named[1]}, and nothing of it is run. If you trust where it is "
            "from, save its state dict alone, or as .safetensors"
        )
    if "TorchScript" in message:
        return "is a TorchScript program, which is not run: save its state dict alone"
    return "is cut off, or not a file of weights that torch.save wrote, and nothing of it is run: download it again"


def _unwrapped(loaded: Any, path: Path, under: str | None) -> tuple[Mapping[str, Any], str]:
    """Return the state dict of a training checkpoint, and its key, none where the file is a state dict itself."""
    found = _state_dicts(loaded, _DEEPEST)
    if under is not None:
        if under not in found:
            raise UserError(f"{path} holds no state dict under {under}, but {_list_keys(found) or 'none at all'}")
        return found[under], under
    if len(found) > 1:
        raise UserError(f"{path} holds several state dicts, {_list_keys(found)}: give --under with the one to import")
    for place, state in found.items():
        return state, place
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(key, str) for key in loaded):
        raise UserError(f"{path} holds a {type(loaded).__name__}, expected a state dict: arrays by name")
    return loaded, ""


def _list_keys(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} ({len(state):,} entries)" for key, state in found.items())


def _state_dicts(loaded: Any, depth: int) -> dict[str, Mapping[str, Any]]:
    """Return the state dicts below a file's own keys, by the keys above them: what holds a matrix by name.

    Other arrays in training checkpoints are numbers, states of generators, or an optimiser's, which lie deeper.
    """
    import torch

    found: dict[str, Mapping[str, Any]] = {}
    if depth and isinstance(loaded, Mapping):
        for key, inner in loaded.items():
            if not isinstance(inner, Mapping) or not isinstance(key, str) or not all(isinstance(k, str) for k in inner):
                continue
            if any(isinstance(x, torch.Tensor) and x.ndim > 1 and x.is_floating_point() for x in inner.values()):
                found[key] = inner
            else:
                found |= {f"{key}.{below}": state for below, state in _state_dicts(inner, depth - 1).items()}
    return found


def _numpy(value: Any, name: str) -> np.ndarray:
    import torch

    if not isinstance(value, torch.Tensor):
        raise UserError(f"{name} is a {type(value).__name__}, expected an array: give the state dict alone")
    value = value.detach()
    try:
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    except (TypeError, RuntimeError) as error:
        raise UserError(f"{name} is {value.dtype}, {value.layout}, which NumPy does not have: give float32") from error
