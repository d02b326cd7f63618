"""A run's checkpoints: state, data position and config, saved as one (Orbax)."""

import json
from typing import Any, TypeVar

import grain
import jax
import orbax.checkpoint as ocp
from etils import epath

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves

T = TypeVar("T")

_STATE, _DATA, _CONFIG = "state", "data", "config"


class Checkpoints:
    """The checkpoints under `directory`, the newest `keep` of them. Saving overlaps with training."""

    def __init__(self, directory: epath.PathLike, *, keep: int):
        self.directory = epath.Path(directory)
        # Named here, so that a process that has saved nothing yet can read a checkpoint's shapes. Any, since grain's
        # handler is one of Orbax's by its methods alone.
        handlers: dict[str, Any] = {
            _STATE: ocp.StandardCheckpointHandler(),
            _DATA: grain.checkpoint.CheckpointHandler(),
            _CONFIG: ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(
            self.directory.absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
            item_handlers=handlers,
        )

    def latest(self) -> int | None:
        """Return the newest whole checkpoint's step, None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, *, state: dict[str, Any], stream: Any, config: str) -> None:
        """Save `state`, the position of `stream` and the config's JSON; nothing if the step is there already."""
        if step == self.latest():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                **{
                    _STATE: ocp.args.StandardSave(state),  # type: ignore[call-arg]
                    _DATA: grain.checkpoint.CheckpointSave(stream),  # type: ignore[call-arg]
                    _CONFIG: ocp.args.JsonSave(json.loads(config)),  # type: ignore[call-arg]
                }
            ),
        )

    def restore(self, step: int, *, like: T, stream: Any) -> T:
        """Return the state of `step`, shaped and sharded like `like`, and move `stream` to its position.

        The number of processes need not be that of the run which saved: any process's data position does.

        Raises:
          UserError: the checkpoint is of another model, or its data position of another stream.
        """
        self._check_shapes(step, like)
        items: dict[str, Any] = {_STATE: ocp.args.StandardRestore(like)}  # type: ignore[call-arg]
        positions = self.directory / str(step) / _DATA
        own = positions / f"process_{jax.process_index()}-of-{jax.process_count()}.json"
        if own.exists():
            items[_DATA] = grain.checkpoint.CheckpointRestore(stream)  # type: ignore[call-arg]
        restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        if not own.exists():
            others = sorted(positions.glob("process_*.json"))
            if not others:
                raise UserError(
                    f"{positions} holds no position in the data: restore that folder, or remove step {step}"
                )
            stream.set_state(others[0].read_bytes())
        return restored[_STATE]

    def wait(self) -> None:
        """Block until the last save is on disk; raises what went wrong with it."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish saving and release the directory."""
        self._manager.close()

    def _check_shapes(self, step: int, like: Any) -> None:
        metadata = self._manager.item_metadata(step)[_STATE]
        saved = {name: tuple(leaf.shape) for name, leaf in named_leaves(metadata["params"]).items()}
        wanted = {name: tuple(leaf.shape) for name, leaf in named_leaves(like["params"]).items()}
        wrong = [name for name in {**wanted, **saved} if saved.get(name) != wanted.get(name)]
        if wrong:
            name = wrong[0]
            raise UserError(
                f"{self.directory / str(step)} holds another model: {len(wrong)} of {len(wanted)} parameters differ, "
                f"first {name}, saved {saved.get(name, 'not at all')}, expected {wanted.get(name, 'none')}; "
                "give this run a new --workdir, or the experiment and overrides that the checkpoint was made with"
            )


def state_shapes(state: Any, shardings: Any) -> Any:
    """Return what `Checkpoints.restore` takes: shapes with the shardings to restore to."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state, shardings
    )
