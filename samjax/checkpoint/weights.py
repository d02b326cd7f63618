"""A model's weights, from a run's checkpoint or a folder of weights: where prediction and export start.

A folder of weights is a checkpoint without optimiser state and data position, and is checked like one.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from samjax.checkpoint import pretrained
from samjax.checkpoint.checksums import Record, differences, record
from samjax.checkpoint.damage import is_its_fault, reason, summary
from samjax.core.errors import CorruptCheckpointError, UserError
from samjax.core.files import is_bucket
from samjax.core.folder import check_room, whole_folder
from samjax.core.git_lfs import POINTER, is_lfs_pointer
from samjax.core.machine_faults import raise_machine_fault
from samjax.core.tree import named_leaves, nest
from samjax.nn.adapters import merge_adapters

_STATE, _CONFIG, _CHECKSUMS = "state", "config", "checksums"
_MODEL, _TRAINED = ("params", "buffers"), ("adapters", "average")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A model's arrays and the config they belong to."""

    params: dict[str, Any]
    """Nested dictionaries of float32 NumPy arrays, as `nnx.to_pure_dict` makes them. For an imported backbone only
    `image_encoder`."""
    buffers: dict[str, Any]
    config: dict[str, Any]
    """The run's whole config as JSON, with `model` in it; of imported weights, `model` and `imported`."""
    path: epath.Path
    """The folder they were read from."""
    notes: tuple[str, ...] = ()
    """What was changed in them since they were read, in sentences."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """By path name, `params/...` and `buffers/...`."""
        leaves = named_leaves({"params": self.params, "buffers": self.buffers})
        return {name: tuple(leaf.shape) for name, leaf in leaves.items()}


@dataclass(frozen=True, kw_only=True)
class SavedShapes:
    """The shapes of a model's arrays in a checkpoint."""

    shapes: dict[str, tuple[int, ...]]
    """By path name, `params/...` and `buffers/...`."""
    config: dict[str, Any]
    """As `Weights.config`."""
    path: epath.Path
    """The folder they were read from."""


def save_weights(path: epath.PathLike, *, params: Any, buffers: Any, config: dict[str, Any]) -> None:
    """Write a folder of weights at `path`, atomically; `config` is JSON with the model's config under `model`.

    Raises:
      UserError: `path` exists already or cannot be written, or a value is not finite.
    """
    folder = epath.Path(path).absolute()
    if folder.exists():
        raise UserError(f"{folder} exists already, and nothing is overwritten: give another folder")
    if is_bucket(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_weights(folder, params=params, buffers=buffers, config=config)
        return
    check_room(Path(folder), sum(leaf.nbytes for leaf in jax.tree.leaves((params, buffers))))
    with whole_folder(Path(folder)) as partial:
        write_weights(partial, params=params, buffers=buffers, config=config)


def write_weights(folder: epath.PathLike, *, params: Any, buffers: Any, config: dict[str, Any]) -> None:
    """Write a folder of weights as `save_weights` does, but in place: `folder` is new or empty.

    Raises:
      UserError: a value is not finite.
    """
    state = {"params": params, "buffers": buffers}
    arrays, finite = record(state)
    if not finite:
        raise UserError(f"the weights for {epath.Path(folder).name} hold non-finite values and are not saved")
    args = ocp.args.Composite(
        **{
            _STATE: ocp.args.PyTreeSave(state),  # type: ignore[call-arg]
            _CONFIG: ocp.args.JsonSave(config),  # type: ignore[call-arg]
            _CHECKSUMS: ocp.args.JsonSave(arrays),  # type: ignore[call-arg]
        }
    )
    with _checkpointer() as checkpointer:
        checkpointer.save(epath.Path(folder), args, force=True)  # into the empty folder


def read_shapes(path: epath.PathLike) -> SavedShapes:
    """Return the shapes of the weights at `path`, which is as for `load_weights`; reads no arrays.

    Raises:
      UserError: there is no checkpoint at `path`, or the file system does not give it.
      CorruptCheckpointError: what it says of itself is damaged.
    """
    folder = find_checkpoint(path)
    with _reading(folder), _checkpointer() as checkpointer:
        config, saved = _record_in(checkpointer, folder)
    shapes = {name: tuple(entry["shape"]) for name, entry in saved.items() if name.split("/")[0] in _MODEL}
    return SavedShapes(shapes=shapes, config=config, path=folder)


def load_weights(path: epath.PathLike, *, average: bool = True) -> Weights:
    """Return the weights at `path`: a run's workdir (its newest checkpoint), one of its checkpoints, such a folder, or
    the name of weights that come with samjax.

    bfloat16 is widened to float32. A run's low-rank adapters are added to their kernels. Of a run that keeps a moving
    average of its parameters, these are the average, or with `average` False those of the last step.

    Raises:
      UserError: there is no checkpoint at `path`, or the file system does not give it.
      CorruptCheckpointError: it is damaged, or an array is not what was saved.
    """
    folder = find_checkpoint(path)
    with _reading(folder), _checkpointer() as checkpointer:
        config, saved = _record_in(checkpointer, folder)
        unused = () if average else ("average",)
        saved = {name: entry for name, entry in saved.items() if name.split("/")[0] not in unused}
        like = nest({name: np.empty(entry["shape"], entry["dtype"]) for name, entry in saved.items()})
        state = checkpointer.restore(
            folder,
            ocp.args.Composite(
                **{
                    _STATE: ocp.args.PyTreeRestore(  # type: ignore[call-arg]
                        like,
                        restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like),
                        partial_restore=True,  # without the optimiser's
                    )
                }
            ),
        )[_STATE]
    wrong = differences(saved, state)
    if wrong:
        raise _corrupt(folder, summary(wrong))
    # What was trained: its average holds adapters too.
    part = state.get("average") or state.get("adapters") or {}
    adapters = config.get("adapters") or {}
    scale = adapters["alpha"] / adapters["rank"] if adapters.get("rank") else 0.0
    return Weights(
        params=_widened(merge_adapters(state["params"], part, scale=scale)),
        buffers=_widened(state.get("buffers", {})),
        config=config,
        path=folder,
        notes=("trained parameters are their moving average",) if "average" in state else (),
    )


def find_checkpoint(path: epath.PathLike) -> epath.Path:
    """Return the checkpoint's own folder at `path`, of a run's the newest, or of the weights with that name.

    Raises:
      UserError: there is none.
    """
    folder = epath.Path(path).absolute()
    if not folder.exists() and str(path) in pretrained.names():
        return epath.Path(pretrained.folder(str(path)))
    for place in (folder, folder / "checkpoints"):
        if (place / _STATE).exists():
            return place
        if place.is_dir():
            steps = [entry for entry in place.iterdir() if entry.name.isdecimal() and (entry / _STATE).exists()]
            if steps:
                return max(steps, key=lambda entry: int(entry.name))
    what = "no checkpoint in it" if folder.exists() else "no such folder"
    names = pretrained.names()
    known = f", or the name of weights that come with samjax: {', '.join(names)}" if names else ""
    raise UserError(
        f"{path}: {what}; give the --workdir of a run, one of its checkpoints/STEP, or what `samjax import` wrote"
        f"{known}"
    )


@contextlib.contextmanager
def _reading(folder: epath.Path) -> Iterator[None]:
    """Turn errors while reading the checkpoint in `folder` into one sentence."""
    try:
        yield
    except Exception as error:
        raise_machine_fault(error, what=f"{folder} is there, but it cannot be read")
        if is_its_fault(error):
            raise _corrupt(folder, reason(error)) from error
        if isinstance(error, OSError):
            raise UserError(f"{folder} is there, but {reason(error)}") from error
        raise


def _record_in(checkpointer: ocp.Checkpointer, folder: epath.Path) -> tuple[dict[str, Any], Record]:
    """Return the config in a checkpoint, and its record of the model's arrays."""
    said = checkpointer.restore(
        folder,
        ocp.args.Composite(
            **{_CONFIG: ocp.args.JsonRestore(), _CHECKSUMS: ocp.args.JsonRestore()}  # type: ignore[call-arg]
        ),
    )
    return said[_CONFIG], _of_model(said[_CHECKSUMS])


def _checkpointer() -> ocp.Checkpointer:
    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(
            **{
                _STATE: ocp.PyTreeCheckpointHandler(),
                _CONFIG: ocp.JsonCheckpointHandler(),
                _CHECKSUMS: ocp.JsonCheckpointHandler(),
            }
        )
    )


def _of_model(saved: Any) -> Record:
    """Return a checkpoint's record of parameters and buffers, and of the adapters and the average of parameters."""
    kept = {name: entry for name, entry in saved.items() if name.split("/")[0] in (*_MODEL, *_TRAINED)}
    if not any(name.startswith("params/") for name in kept):
        raise ValueError(f"its record names no parameters, only {json.dumps(list(saved)[:3])}")
    return kept


def _widened(tree: Any) -> Any:
    """Return a tree with its bfloat16 arrays in float32."""
    return jax.tree.map(lambda leaf: leaf.astype(np.float32) if leaf.dtype == jnp.bfloat16 else leaf, tree)


def _corrupt(folder: epath.Path, what: str) -> CorruptCheckpointError:
    files = [] if is_bucket(folder) else Path(folder).rglob("*")  # a repository is on a disk
    pointers = sorted(path for path in files if path.is_file() and is_lfs_pointer(path))
    if pointers:
        return CorruptCheckpointError(f"{pointers[0]} {POINTER} ({len(pointers)} such files in {folder})")
    return CorruptCheckpointError(f"{folder} is damaged: {what}; give another checkpoint, or restore a copy")
