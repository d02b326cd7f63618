"""PyTorch state dicts from files and folders of others, as NumPy arrays. Arrays are read; code never runs."""

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

_WRAPPERS = ("model", "state_dict")
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


def read_state_dict(path: str | Path) -> StateDict:
    """Read `.safetensors`, `.pth`, `.pt` or `.bin`, or a folder with those of transformers, in shards or whole.

    Raises:
      UserError: there is no such file, it is cut off or damaged, it would run code, or it holds something else.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; give weights on this machine, .safetensors, .pth or a folder")
    files = _files(path) if path.is_dir() else [path]
    arrays: dict[str, np.ndarray] = {}
    for file in files:
        part = _read(file)
        if twice := sorted(part.keys() & arrays.keys()):
            raise UserError(f"{file} holds {twice[0]}, which another file of {path} holds too: give one of them")
        arrays |= part
    return StateDict(arrays=arrays, sha256={file.name: _sha256(file) for file in files}, config=_config(path))


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
                    raise UserError(f"{index} names {shard}, which is not there: get the whole folder")
            return [folder / shard for shard in names]
    raise UserError(f"{folder} holds none of {', '.join(_FOLDER)} or their index: give the file of weights itself")


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): get it again") from error
    if not isinstance(said, dict):
        raise UserError(f"{path} holds {said!r:.40}, expected a JSON object")
    return said


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, np.ndarray]:
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


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
                    raise UserError(f"{path}: {key} is of a type that NumPy has not ({error}): give float32") from error
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is cut off, or not a safetensors file ({error}): get it again") from error
    return arrays


def _plain(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _read_torch(path: Path) -> dict[str, np.ndarray]:
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
    return {key: _numpy(value, f"{path}: {key}") for key, value in _unwrapped(loaded, path).items()}


def _check_sums(path: Path) -> None:
    """Refuse a zip whose members are not what was written: torch itself does not look."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{path} is cut off or damaged ({error}): get it again") from error
    if damaged is not None:
        raise UserError(f"{path} is damaged, {damaged} in it has another checksum: get it again")


def _why(message: str) -> str:
    """Return what is wrong with a file in place of torch's paragraph, whose advice is to run its code."""
    if named := re.search(r"GLOBAL ([\w.]+)", message):
        return (
            f"holds more than arrays: it would run {named[1]}, and nothing of it is run. If you trust where it is "
            "from, save its state dict alone, or as .safetensors"
        )
    if "TorchScript" in message:
        return "is a TorchScript program, which is not run: save its state dict alone"
    return "is cut off, or not a file of weights that torch.save wrote, and nothing of it is run: get it again"


def _unwrapped(loaded: Any, path: Path) -> Mapping[str, Any]:
    """Return the state dict of a training checkpoint, which lies under a key of its own."""
    for _ in _WRAPPERS:
        inner = [
            loaded[key] for key in _WRAPPERS if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)
        ]
        loaded = inner[0] if inner else loaded
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(key, str) for key in loaded):
        raise UserError(f"{path} holds a {type(loaded).__name__}, expected a state dict: arrays by name")
    return loaded


def _numpy(value: Any, name: str) -> np.ndarray:
    import torch

    if not isinstance(value, torch.Tensor):
        raise UserError(f"{name} is a {type(value).__name__}, expected an array: give the state dict alone")
    value = value.detach()
    try:
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    except (TypeError, RuntimeError) as error:
        raise UserError(f"{name} is {value.dtype}, {value.layout}, which NumPy has not: give float32") from error
