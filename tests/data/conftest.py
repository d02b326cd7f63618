"""Small data sets, written with faults where a test wants them."""

import json
import shutil

import pytest
from array_record.python import array_record_module
from streams import SIZE, mask_stream

from samjax.data.masks.mask_data import MaskDataConfig
from samjax.data.records import masks as records


@pytest.fixture
def write_dataset(prepared, tmp_path):
    """Write records (Record, or bytes as they are) as a data set and return its folder."""

    def write(contents, name="data"):
        folder = tmp_path / name
        shutil.copytree(prepared / "train", folder)
        info = json.loads((folder / "dataset_info.json").read_text())
        info["splits"][0]["shardLengths"] = [str(len(contents))]
        (folder / "dataset_info.json").write_text(json.dumps(info))
        writer = array_record_module.ArrayRecordWriter(
            str(folder / "sa1b-train.array_record-00000-of-00001"), "group_size:1"
        )
        for content in contents:
            writer.write(content if isinstance(content, bytes) else records.encode_record(content))
        writer.close()
        return folder

    return write


@pytest.fixture
def config(prepared):
    return MaskDataConfig(source=str(prepared / "train"), max_masks=5, threads=2, prefetch_photos=8)


@pytest.fixture
def start():
    """Start streams that are closed after the test."""
    streams = []

    def begin(config, *, batch_size=6, seed=0, sharding=None, size=SIZE):
        streams.append(mask_stream(config, image_size=size, batch_size=batch_size, seed=seed, sharding=sharding))
        return streams[-1]

    yield begin
    for stream in streams:
        stream.close()
