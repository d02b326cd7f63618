"""The processes of a run: how they find each other, and what one of them does for all."""

import contextlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # its client's key-value store has no public name; Orbax takes it from there too
from jax.experimental import multihost_utils

from samjax.core.errors import MachineError, UserError

HEARTBEAT_TIMEOUT_S = 100
"""A process that says nothing for so long is given up, and the others end."""


def join(*, coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Join the other processes of this job; call it before anything touches a device.

    On TPU pods, under Slurm and Open MPI, JAX finds out all three by itself; elsewhere say all three. Waits for the
    others up to five minutes. From then on SIGTERM, Ctrl-C and preemption notices are what `stops_together` asks for.

    Args:
      coordinator: host and port at which process 0 listens.
      processes: how many there are.
      process: which of them this is, from 0.

    Raises:
      UserError: some of the three are given and not all, or make no sense; there is no cluster that JAX knows, or the
        others did not come.
    """
    given = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        raise UserError(f"{' and '.join(missing)} must be given too: {', '.join(given)} go together")
    if coordinator is not None and processes is not None and process is not None:
        if not re.fullmatch(r".+:\d{1,5}", coordinator):
            raise UserError(f"--coordinator is {coordinator}; expected HOST:PORT, where process 0 listens")
        if not 0 <= process < processes:
            raise UserError(f"--process is {process} of --processes {processes}; processes are counted from 0")
    try:
        jax.distributed.initialize(
            coordinator_address=coordinator,
            num_processes=processes,
            process_id=process,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
        )
    except ValueError as error:
        raise UserError(
            f"--multihost: JAX finds no TPU pod, Slurm or MPI job here ({error}); give --coordinator HOST:PORT, "
            "--processes and --process on each host"
        ) from None
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--multihost: the other processes were not found within five minutes: {error}") from None
    _interrupt_as_preemption()


def is_lead() -> bool:
    """Return whether this process is the one that speaks and writes for all."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Wait until every process is here; `name` says where, the same in each."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def all_say(yes: bool) -> bool:
    """Return whether every process says yes."""
    if jax.process_count() == 1:
        return yes
    return bool(np.all(multihost_utils.process_allgather(np.asarray(yes))))


@contextlib.contextmanager
def ends_all() -> Iterator[None]:
    """Let an error within end this process at once, after its message, where there are others.

    On its way out JAX would wait for them, and they wait in an exchange for this one: minutes, until its heartbeat is
    missed. The others notice the closed connection, and end the same way.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        told = isinstance(error, UserError | MachineError)
        if told:
            print(f"samjax: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
        print(f"process {jax.process_index()} of {jax.process_count()} ends; the others will", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2 if told else 1)


def stops_together(step: int) -> bool:
    """Return whether all processes end before `step + 1`, since one of them was told to (SIGTERM, a preemption).

    Each process asks once a step. Steps are dispatched ahead and not in lockstep: JAX agrees on one that none is past.
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


def leave_word(topic: str, word: str) -> None:
    """Let every process read `word`, instead of this one's last of that topic; nobody is waited for."""
    if jax.process_count() > 1:
        _client().key_value_set(f"samjax/{topic}/{jax.process_index()}", word, allow_overwrite=True)


def words_of_all(topic: str) -> dict[int, str]:
    """Return the last word of each process that left one, none if there is one process."""
    if jax.process_count() == 1:
        return {}
    found = _client().key_value_dir_get(f"samjax/{topic}")
    return {int(name.rsplit("/", 1)[1]): word for name, word in found}


def _client() -> Any:
    return distributed.global_state.client


def _interrupt_as_preemption() -> None:
    """Let Ctrl-C be what SIGTERM is, which JAX listens to in a run of several processes; a second one acts as usual."""

    def terminate(*_) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGINT, terminate)
