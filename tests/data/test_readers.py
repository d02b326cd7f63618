"""Shards beyond the limit of open files are read, and the machine's limits are not taken for damage."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from array_record.python import array_record_module
from shards import record

from samjax.core.errors import MachineError
from samjax.data.masks import mask_data
from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
from samjax.data.records import masks as records
from samjax.data.stream import readers
from samjax.data.stream.example import Decode, DroppedRecord, Fault
from samjax.data.stream.mixture import RawRecord
from samjax.data.stream.sources import open_source

ROOT = Path(__file__).parent.parent.parent
SHARDS = 60


@pytest.fixture(scope="module")
def many(prepared, tmp_path_factory):
    """A data set of many shards, a record each."""
    folder = tmp_path_factory.mktemp("many") / "data"
    folder.mkdir()
    shutil.copy(prepared / "train/features.json", folder)
    info = json.loads((prepared / "train/dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["1"] * SHARDS
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for number in range(SHARDS):
        path = folder / f"sa1b-train.array_record-{number:05d}-of-{SHARDS:05d}"
        writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
        writer.write(records.encode_record(record(number)))
        writer.close()
    return folder


READS = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
from samjax.data.stream import readers
from samjax.data.records.masks import decode_record
from samjax.data.stream.sources import open_source
source = open_source(sys.argv[1], "train")
for _ in range(2):
    for number in range(len(source)):
        assert decode_record(source[number]).image_id == number
print(len(source), len(os.listdir("/proc/self/fd")))
readers._PAUSE_S = 0
readers._OPEN.close = lambda: None  # what it would free is taken at once
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError:
    pass
try:
    source[0]
except Exception as error:
    print(type(error).__name__, error)
"""


def test_more_shards_than_files_may_be_open_are_read_and_the_limit_is_named(many):
    done = subprocess.run(
        [sys.executable, "-c", READS, str(many)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counted, told = done.stdout.splitlines()
    count, held = map(int, counted.split())
    assert count == SHARDS
    assert held <= 35
    assert told.startswith("MachineError")
    assert "Too many open files: this process may have 40 files open: raise that limit with `ulimit -n`" in told


def failing(reader, error):
    class Failing:
        def read(self, positions):
            raise error

    return Failing()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("pread() failed: Input/output error; reading /data/x; at byte 0"), MachineError),
        (RuntimeError("open() failed: Too many open files; opening /data/x"), MachineError),
        (MemoryError(), MachineError),
        (RuntimeError("Failed to read RiegeliPostscript"), records.RecordError),
        (IndexError("out of range"), records.RecordError),
    ],
    ids=repr,
)
def test_what_the_machine_lacks_is_no_damage(many, monkeypatch, error, kind):
    monkeypatch.setattr(readers, "_PAUSE_S", 0.0)
    source = open_source(str(many), "train")
    monkeypatch.setattr(readers._OPEN, "reader", lambda owner, path: failing(path, error))
    with pytest.raises(kind, match=r"cannot be read"):
        source[3]


def test_a_read_that_fails_once_is_tried_again(many, monkeypatch):
    """A file server that came back: the reader is opened anew."""
    monkeypatch.setattr(readers, "_PAUSE_S", 0.0)
    source = open_source(str(many), "train")
    opened = []

    def reader(owner, path):
        opened.append(path)
        if len(opened) == 1:
            return failing(path, RuntimeError("pread() failed: Stale file handle; reading x"))
        return readers.open_reader(path)

    monkeypatch.setattr(readers._OPEN, "reader", reader)
    assert records.decode_record(source[3]).image_id == 3
    assert len(opened) == 2


def test_readers_go_with_their_source(many):
    """A data set that is prepared again at the same place is read as it is now."""

    def held():
        paths = [os.path.realpath(f"/proc/self/fd/{file}") for file in os.listdir("/proc/self/fd")]
        return sum(path.startswith(str(many)) for path in paths)

    readers._OPEN.close()
    source = open_source(str(many), "train")
    for number in range(5):
        source[number]
    assert held() == 5
    del source
    open_source(str(many), "train")[0]
    assert held() == 1


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (MachineError("x cannot be read (Too many open files)"), Fault.MACHINE),
        (records.RecordError("x"), Fault.CORRUPT),
        (b"junk", Fault.CORRUPT),
    ],
    ids=repr,
)
def test_a_fault_of_the_machine_is_not_counted_as_a_corrupt_record(data, fault):
    made = Decode(MaskExamples(MaskDataConfig(source=""), image_size=(32, 32)))(
        RawRecord("record 0", data), np.random.default_rng(0)
    )
    assert isinstance(made, DroppedRecord)
    assert made.fault is fault


def test_no_memory_for_a_photo_is_no_fault_of_the_photo(monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(mask_data, "frame_photo", no_memory)
    located = RawRecord("record 0", records.encode_record(record(1)))
    made = Decode(MaskExamples(MaskDataConfig(source=""), image_size=(32, 32)))(located, np.random.default_rng(0))
    assert isinstance(made, DroppedRecord)
    assert made.fault is Fault.MACHINE
    assert made.reason.startswith("Cannot allocate memory: free memory")
