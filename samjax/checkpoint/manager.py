"""A run's checkpoints: state, data position and config, saved as one (Orbax), each array with a checksum."""

import contextlib
import ctypes
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grain
import jax
import orbax.checkpoint as ocp
from etils import epath

from samjax.checkpoint.checksums import Record, compare, differences, record
from samjax.checkpoint.damage import detail, is_its_fault, reason, summary
from samjax.checkpoint.matching_run import check_run
from samjax.checkpoint.preservation import Preservation
from samjax.core.distributed import all_say, is_lead, wait_for_all
from samjax.core.errors import CorruptCheckpointError, UserError
from samjax.core.machine_faults import raise_machine_fault
from samjax.core.tree import named_leaves

T = TypeVar("T")

_STATE, _DATA, _CONFIG, _CHECKSUMS = "state", "data", "config", "checksums"

log = logging.getLogger(__name__)


class NonFiniteStateError(UserError):
    """A state to be saved holds non-finite values."""


class Checkpoints:
    """The checkpoints under `directory`: the newest `keep`, and the one of `keep_also`. Saving overlaps with
    training."""

    def __init__(self, directory: epath.PathLike, *, keep: int):
        self.directory = epath.Path(directory)
        self._kept = Preservation(keep)
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        # Named here, so that a process that has not saved yet can read shapes. Any, since grain's
        # handler is one of Orbax's by its methods alone.
        handlers: dict[str, Any] = {
            _STATE: ocp.StandardCheckpointHandler(),
            _DATA: grain.checkpoint.CheckpointHandler(),
            _CONFIG: ocp.JsonCheckpointHandler(),
            _CHECKSUMS: ocp.JsonCheckpointHandler(),
        }
        return ocp.CheckpointManager(
            self.directory.absolute(),
            options=ocp.CheckpointManagerOptions(preservation_policy=self._kept, create=True),
            item_handlers=handlers,
        )

    def latest(self) -> int | None:
        """Return the step of the newest complete checkpoint, None if there is none."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """Return the steps that have a complete checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def newest_on_disk(self) -> int | None:
        """Return the newest step that has a folder now, None if none has; any thread may call it."""
        with contextlib.suppress(OSError):
            return max((int(entry.name) for entry in self.directory.iterdir() if entry.name.isdecimal()), default=None)
        return None

    def keep_also(self, step: int | None) -> None:
        """From the next save on, keep this step in addition to the newest, instead of the one given before."""
        self._kept.other = step

    def save(self, step: int, *, state: dict[str, Any], stream: Any, config: str) -> None:
        """Save `state`, the position of `stream` and the config's JSON; do nothing if the step is already saved.

        Raises:
          NonFiniteStateError: a value in `state` is not finite; nothing is saved.
        """
        if step == self.latest():
            return
        _trim_heap()  # memory of the last save
        arrays, finite = record(state)
        if not finite:
            raise NonFiniteStateError(
                f"the state of step {step} holds numbers that are not finite, and is not saved; {self.way_on()} "
                "with a lower learning rate"
            )
        self._telling(
            self._manager.save,
            step,
            args=ocp.args.Composite(
                **{
                    _STATE: ocp.args.StandardSave(state),  # type: ignore[call-arg]
                    _DATA: grain.checkpoint.CheckpointSave(stream),  # type: ignore[call-arg]
                    _CONFIG: ocp.args.JsonSave(json.loads(config)),  # type: ignore[call-arg]
                    _CHECKSUMS: ocp.args.JsonSave(arrays),  # type: ignore[call-arg]
                }
            ),
        )

    def restore_newest(self, *, like: T, stream: Any) -> tuple[int, T] | None:
        """Return step and state of the newest complete checkpoint, and move `stream` to its position.

        Damaged checkpoints are moved to `corrupt/`, beside the others, with a warning that says what is wrong.

        Returns:
          None if there is no checkpoint.

        Raises:
          UserError: there are checkpoints, but none is complete; or as for `restore`.
        """
        while (step := self.latest()) is not None:
            state, fault = None, "another process cannot read it"
            try:
                state = self.restore(step, like=like, stream=stream)
            except CorruptCheckpointError as error:
                fault = str(error)
            if all_say(state is not None) and state is not None:
                return step, state
            log.warning("checkpoint %d is not used: %s", step, fault)
            self._put_aside(step)
        if self._aside.exists():
            broken = sorted(path.name for path in self._aside.iterdir())
            raise UserError(
                f"no checkpoint in {self.directory} is whole; {', '.join(broken)} are in {self._aside}. "
                "Restore a copy, or give this run a new --workdir to start over"
            )
        return None

    def check_newest(self, *, like: Any, stream: Any) -> int | None:
        """Check the newest checkpoint against `like`, move `stream` to its position, and return its step; reads no
        array.

        Raises:
          CorruptCheckpointError: what it says of itself is damaged.
          UserError: as `restore`.
        """
        step = self.latest()
        if step is not None:
            with _reading(self.directory / str(step)):
                self._check_arrays(step, self._record_of(step), like)
                stream.set_state(self._position_files(step)[0].read_bytes())
        return step

    def restore(self, step: int, *, like: T, stream: Any) -> T:
        """Return the state of `step`, shaped and sharded like `like`, and move `stream` to its position.

        The number of processes may differ from the run that saved: the data position of any process will do.

        Raises:
          CorruptCheckpointError: it cannot be read, or an array is not what was saved.
          UserError: the checkpoint is of another model, or its data position of another stream.
        """
        with _reading(self.directory / str(step)):
            saved = self._record_of(step)
            self._check_arrays(step, saved, like)
            restored = self._restore(step, like=like, stream=stream)
        wrong = differences(saved, restored)
        if wrong:
            raise CorruptCheckpointError(summary(wrong))
        return restored

    def _restore(self, step: int, *, like: T, stream: Any) -> T:
        items: dict[str, Any] = {_STATE: ocp.args.StandardRestore(like)}  # type: ignore[call-arg]
        positions = self.directory / str(step) / _DATA
        own = positions / f"process_{jax.process_index()}-of-{jax.process_count()}.json"
        if own.exists():
            items[_DATA] = grain.checkpoint.CheckpointRestore(stream)  # type: ignore[call-arg]
        restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        if not own.exists():
            stream.set_state(self._position_files(step)[0].read_bytes())
        return restored[_STATE]

    def _record_of(self, step: int) -> Record:
        return self._manager.restore(
            step,
            args=ocp.args.Composite(**{_CHECKSUMS: ocp.args.JsonRestore()}),  # type: ignore[call-arg]
        )[_CHECKSUMS]

    def _position_files(self, step: int) -> list[epath.Path]:
        positions = self.directory / str(step) / _DATA
        found = sorted(positions.glob("process_*.json"))
        if not found:
            raise CorruptCheckpointError(f"{positions} holds no position in the data")
        return found

    def wait(self) -> None:
        """Block until the last save is on disk.

        Raises:
          UserError: it failed; the message says why, and what is saved.
        """
        self._telling(self._manager.wait_until_finished)

    def close(self) -> None:
        """Finish saving and close."""
        self._manager.close()

    def check(self) -> None:
        """Raise as `wait` does if a save in progress has failed, without waiting for it."""
        self._telling(self._manager.check_for_errors)

    def _telling(self, act: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Turn errors while saving into one sentence."""
        try:
            act(*arguments, **named)
        except (OSError, ValueError) as error:  # TensorStore's are ValueErrors
            raise UserError(
                f"a checkpoint cannot be saved in {self.directory}: {detail(error)}; {self.way_on()}, once it can be "
                "written to"
            ) from error

    def way_on(self) -> str:
        """Wait for a save in progress, and return in words where a run that fails now can resume."""
        with contextlib.suppress(Exception):  # it may be what has failed
            self._manager.wait_until_finished()
        saved = self.newest_on_disk()
        if saved is None:
            return "nothing has been saved yet: start again"
        return f"the last checkpoint is of step {saved}: resume from it"

    @property
    def _aside(self) -> epath.Path:
        return self.directory.parent / "corrupt"

    def _put_aside(self, step: int) -> None:
        """Move a checkpoint out of the way: it is not read again, and its step can be saved anew."""
        self._manager.close()
        if is_lead():
            self._aside.mkdir(parents=True, exist_ok=True)
            target, copy = self._aside / str(step), 1
            while target.exists():
                target, copy = self._aside / f"{step}-{copy}", copy + 1
            (self.directory / str(step)).rename(target)
        wait_for_all(f"checkpoint {step} is put aside")
        self._manager = self._open()

    def _check_arrays(self, step: int, saved: Record, like: Any) -> None:
        """Refuse damaged arrays, then arrays of another model: a damaged shape must not look like another model."""
        stored = {
            name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
            for name, leaf in named_leaves(_tree_of(self._manager.item_metadata(step)[_STATE])).items()
        }
        wrong = compare(saved, stored, fields=("shape", "dtype"))
        if wrong:
            raise CorruptCheckpointError(wrong[0])
        check_run(self.directory / str(step), saved, like)


@contextlib.contextmanager
def _reading(folder: epath.Path) -> Iterator[None]:
    """Raise errors while reading the checkpoint in `folder` as damage or as a machine's failure, whichever it is."""
    try:
        yield
    except CorruptCheckpointError:
        raise
    except Exception as error:
        raise_machine_fault(error, what=f"checkpoint {folder} cannot be read")
        if not is_its_fault(error):
            raise
        raise CorruptCheckpointError(reason(error)) from error


def _tree_of(metadata: Any) -> Any:
    """Return the arrays' metadata, shaped like the state."""
    if metadata is None:
        raise CorruptCheckpointError("it does not describe its arrays")
    return metadata.tree


def _trim_heap() -> None:
    """Return freed memory to the system: glibc keeps it, in an arena per thread of Orbax."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def state_shapes(state: Any, shardings: Any) -> Any:
    """Return the `like` of `Checkpoints.restore`: shapes with the shardings to restore to."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state, shardings
    )
