"""Several people at the routes of a server that is killed at random moments and started again on the same folder."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from pathlib import Path

import pytest
from helpers.annotators import agree, leased_by_one, open_folder, some_proposals
from page_clients import Annotator, Ledger

NAMES = ("ann", "bob", "eve", "joe", "kim")
KILLS = 14
PHOTOS = 16
MOST_MASKS = 25
"""Of a server's, before it is killed."""
PATIENCE_S = 10.0
HERE = Path(__file__).parent


@pytest.mark.faults
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_what_pages_were_told_outlives_every_kill(tmp_path, seed):
    """Acknowledged masks are there once, no photo was two people's, and events say what files say."""
    with open_folder(tmp_path, PHOTOS) as folder:
        for photo in range(0, PHOTOS, 2):
            folder.set_proposals(photo, some_proposals(0.9, 0.8, 0.7), model="squares")
    ledger = Ledger()
    asyncio.run(_work(tmp_path, ledger, seed=seed))
    with open_folder(tmp_path) as folder:
        assert agree(folder)
        ledger.check(folder)
        leased_by_one(folder.path)
    assert ledger.counts["masks"] > 2 * KILLS
    assert ledger.counts["answers lost"] > KILLS
    assert ledger.counts["handles lost"] > 0
    assert len(ledger.unsure) < len(ledger.told) / 3


async def _work(place: Path, ledger: Ledger, *, seed: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(HERE.parent), str(HERE.parents[1])])
    with open(place / "errors", "wb") as errors:
        server = await asyncio.create_subprocess_exec(
            sys.executable,
            *map(str, (HERE / "killed_server.py", place, port, KILLS, seed)),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    try:
        people = [Annotator(name, f"http://127.0.0.1:{port}", ledger, seed=seed) for name in NAMES]
        async with asyncio.TaskGroup() as group:
            for person in people:
                group.create_task(person.work())
            last = await _kill_until_last(server, ledger, random.Random(seed))
            await _until(ledger, masks=MOST_MASKS)
            ledger.is_over = True
        os.kill(last, signal.SIGINT)
        assert await server.wait() == 0, (place / "errors").read_text()
    finally:
        if server.returncode is None:
            os.killpg(server.pid, signal.SIGKILL)  # its child serves
            await server.wait()


async def _kill_until_last(server: asyncio.subprocess.Process, ledger: Ledger, draw: random.Random) -> int:
    """Kill each server after some masks, if it does not die before; return the last one's process id."""
    killing: asyncio.Task[None] | None = None
    assert server.stdout is not None
    while line := await server.stdout.readline():
        if killing is not None:
            killing.cancel()
        word, id = line.split()
        if word == b"last":
            return int(id)
        killing = asyncio.create_task(_kill(int(id), ledger, masks=draw.randint(1, MOST_MASKS)))
    raise AssertionError("the servers have ended")


async def _kill(process: int, ledger: Ledger, *, masks: int) -> None:
    await _until(ledger, masks=masks)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


async def _until(ledger: Ledger, *, masks: int) -> None:
    """Wait until so many more masks have been acknowledged, and no longer than is patient."""
    before = ledger.counts["masks"]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while ledger.counts["masks"] < before + masks:
                await asyncio.sleep(0.005)
