"""Multi-process runs: how processes find each other, agree, and wait for each other."""

import contextlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import distributed  # the client's key-value store has no public name; Orbax uses it from here too
from jax.experimental import multihost_utils

from samjax.core.errors import MachineError, UserError

T = TypeVar("T")

HEARTBEAT_TIMEOUT_S = 100
"""A process that is silent for this long is given up, and the others exit."""


def join(*, coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Join the other processes of this job; call it before anything touches a device.

    On TPU pods, under Slurm and Open MPI, JAX finds all three arguments by itself; elsewhere give all three. Waits up
    to five minutes for the others. From then on `stops_together` reports SIGTERM, Ctrl-C and preemption notices.

    Args:
      coordinator: host and port at which process 0 listens.
      processes: how many there are.
      process: which of them this is, from 0.

    Raises:
      UserError: only some of the three are given, or one is invalid; JAX finds no cluster, or the others did not join.
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
    """Return whether this is the lead process, which prints and writes for all."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Wait until every process has arrived; `name` identifies the barrier, the same in each process."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def all_say(yes: bool) -> bool:
    """Return whether the condition holds on every process."""
    if jax.process_count() == 1:
        return yes
    return bool(np.all(multihost_utils.process_allgather(np.asarray(yes))))


def lead_decides(values: T) -> T:
    """Return the lead process's arrays, a pytree, to every process; all have arrays of these shapes."""
    return values if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(values)


@contextlib.contextmanager
def ends_all() -> Iterator[None]:
    """In a multi-process run, exit at once on an error in this context, after printing it.

    A normal exit would wait for the other processes, which themselves wait for this one in a collective: minutes, until
    the heartbeat times out. The others notice the closed connection and exit the same way.
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
    """Return whether all processes stop before `step + 1`, because one of them was told to (SIGTERM, preemption).

    Each process asks once per step. Processes are not in lockstep: JAX agrees on a step that none has passed.
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


def leave_word(topic: str, word: str) -> None:
    """Publish `word` to every process, replacing this process's last word on the topic; does not wait."""
    if jax.process_count() > 1:
        _client().key_value_set(f"samjax/{topic}/{jax.process_index()}", word, allow_overwrite=True)


def words_of_all(topic: str) -> dict[int, str]:
    """Return the last word of each process that published one; empty in a single-process run."""
    if jax.process_count() == 1:
        return {}
    found = _client().key_value_dir_get(f"samjax/{topic}")
    return {int(name.rsplit("/", 1)[1]): word for name, word in found}


def _client() -> Any:
    return distributed.global_state.client


def _interrupt_as_preemption() -> None:
    """Treat Ctrl-C like SIGTERM, which JAX listens to in a multi-process run; a second Ctrl-C acts as usual."""

    def terminate(*_) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGINT, terminate)
