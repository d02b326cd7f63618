"""The global sequence of batches is a function of the seed and the step, whoever makes which rows of it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import SIZE, PartOfTheMesh, assert_equal, faulty, ids, take

from samjax.checkpoint.manager import Checkpoints
from samjax.core.batches import Batch
from samjax.core.errors import CorruptCheckpointError, UserError
from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
from samjax.data.stream.batch_rows import BatchRows
from samjax.data.stream.loader import TrainStream
from samjax.data.stream.mixture import open_mixture
from samjax.data.stream.row_selection import Rows

BATCH = 8


def own_rows(host):
    """Of these processes there is no mesh to put the global batch on."""
    return Batch(**{name: jnp.asarray(values) for name, values in host.items()})


@pytest.fixture
def processes():
    """Start the streams that some number of processes would have."""
    streams = []

    def begin(config, count):
        share = BATCH // count
        for first in range(0, BATCH, share):
            maker = MaskExamples(config, image_size=SIZE)
            rows = BatchRows(maker, batch_size=BATCH, sharding=PartOfTheMesh((first, first + share)))
            rows.place = own_rows
            streams.append(TrainStream(config, maker, rows=rows, mixture=open_mixture(config, maker.schema), seed=3))
        return streams[-count:]

    yield begin
    for stream in streams:
        stream.close()


def take_together(streams, count):
    """The next global batches, from the rows of each process."""
    parts = [take(stream, count) for stream in streams]
    return [jax.tree.map(lambda *rows: np.concatenate(rows), *batch) for batch in zip(*parts, strict=True)]


@pytest.fixture
def config(write_dataset):
    """Fifty records, one of them junk and one without a mask: seven batches of eight and a border of epochs."""
    folder = write_dataset(faulty(50, bad=[7]))
    return MaskDataConfig(source=str(folder), max_masks=1, threads=2, prefetch_photos=8, flip_probability=0.5)


def test_any_number_of_processes_make_the_same_batches(config, processes):
    """Also after records that cannot be used: nothing moves up, on one process or another."""
    alone = take_together(processes(config, 1), 13)
    assert ids(alone).count(-1) >= 4
    for count in (2, 4, 8):
        assert_equal(take_together(processes(config, count), 13), alone)


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (2, 4), (4, 2)])
def test_another_number_of_processes_goes_on_from_a_state(config, processes, before, after, caplog):
    whole = take_together(processes(config, 1), 11)
    interrupted = processes(config, before)
    take_together(interrupted, 5)
    state = interrupted[0].get_state()
    resumed = processes(config, after)
    for stream in resumed:
        take(stream, 1)
        stream.set_state(state)
        assert stream.counts["records"] == 0
    assert "counts of records restart" in caplog.text
    assert_equal(take_together(resumed, 6), whole[5:])
    assert resumed[0].counts["records"] == 6 * BATCH // after


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_processes_goes_on_from_a_bare_step(config, processes, count):
    whole = take_together(processes(config, 1), 11)
    streams = processes(config, count)
    for stream in streams:
        stream.set_step(8)
    assert_equal(take_together(streams, 3), whole[8:])
    for stream in streams:
        stream.set_step(0)
    assert_equal(take_together(streams, 2), whole[:2])
    with pytest.raises(UserError, match="step is -1"):
        streams[0].set_step(-1)


def test_a_checkpoint_of_another_number_of_processes_restores(config, processes, tmp_path):
    """grain names a position by its process; one that is not there is taken from another process."""
    whole = take_together(processes(config, 1), 6)
    (one,) = processes(config, 1)
    take(one, 4)
    checkpoints = Checkpoints(tmp_path, keep=1)
    state = {"params": {"w": jnp.arange(3.0)}}
    checkpoints.save(4, state=state, stream=one, config="{}")
    checkpoints.wait()
    (own,) = (tmp_path / "4" / "data").glob("process_*.json")
    own.rename(own.with_name("process_1-of-2.json"))
    (other,) = processes(config, 1)
    restored = checkpoints.restore(4, like=state, stream=other)
    np.testing.assert_array_equal(restored["params"]["w"], state["params"]["w"])
    assert_equal(take(other, 2), whole[4:])
    (tmp_path / "4" / "data" / "process_1-of-2.json").unlink()
    with pytest.raises(CorruptCheckpointError, match="holds no position in the data"):
        checkpoints.restore(4, like=state, stream=other)
    checkpoints.close()


def test_the_counts_of_the_processes_add_up(config, processes):
    alone = processes(config, 1)
    take_together(alone, 13)
    four = processes(config, 4)
    take_together(four, 13)
    assert alone[0].counts["corrupt"] > 0
    for name, value in alone[0].counts.items():
        assert sum(stream.counts[name] for stream in four) == value


def test_a_photo_of_its_own_row_whatever_the_processes():
    """The processes' rows put together are the batches one process would make."""
    alone = Rows(np.arange(8), batch_size=8)
    parts = [Rows(np.arange(first, first + 2), batch_size=8) for first in (0, 2, 4, 6)]
    for batch in range(3):
        whole = [alone[batch * 8 + row] for row in range(8)]
        assert whole == [(0, batch * 8 + row) for row in range(8)]
        assert [part[batch * 2 + row] for part in parts for row in range(2)] == whole
    late = Rows(np.array([1, 5]), batch_size=8, step=2)
    assert [late[index] for index in range(4)] == [(0, 17), (0, 21), (0, 25), (0, 29)]


def test_a_process_holds_the_rows_of_its_devices():
    """Devices that share rows (tensor parallel) or lie apart must give each row once, in order."""
    sharding = PartOfTheMesh((4, 6), (0, 2), (4, 6))
    maker = MaskExamples(MaskDataConfig(source="", max_masks=1), image_size=(4, 4))
    assert BatchRows(maker, batch_size=8, sharding=sharding).rows.tolist() == [0, 1, 4, 5]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ids_of_processes(source, *, count, first=0, batches=6):
    """The record ids of global batches, from a job of `count` real processes that meet over the network."""
    script = Path(__file__).with_name("stream_process.py")
    root = Path(__file__).parents[2]
    port = free_port()
    job = [
        subprocess.Popen(
            [sys.executable, script, source, *map(str, (port, count, index, first, batches))],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    outputs = [process.communicate(timeout=300) for process in job]
    assert all(process.returncode == 0 for process in job), "\n".join(errors for _, errors in outputs)
    found = [json.loads(output.splitlines()[-1]) for output, _ in outputs]
    assert all(one["gathered"] == found[0]["gathered"] for one in found)  # every process sees the same global batch
    own = [place for one in found for place in one["own"]]
    assert sorted(own) == list(range(batches * BATCH)), "rows are read twice or not at all"
    return found[0]["gathered"]


@pytest.mark.slow
def test_a_job_of_real_processes_makes_the_same_batches(write_dataset):
    """jax.distributed with collectives over gloo: one, two and four processes, and a resume on another number."""
    source = str(write_dataset(faulty(50, bad=[7])))
    alone = ids_of_processes(source, count=1)
    assert -1 in alone
    assert ids_of_processes(source, count=2) == alone
    assert ids_of_processes(source, count=4) == alone
    assert ids_of_processes(source, count=2, first=4, batches=2) == alone[4 * BATCH :]
