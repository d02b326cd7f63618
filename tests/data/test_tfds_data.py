"""Data that TFDS prepared itself, with its own schema and writer, trains and verifies unchanged; ours opens in TFDS."""

import contextlib
import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from shards import good, record, write_tar
from tensorflow_datasets.datasets.segment_anything import segment_anything_dataset_builder

from data_pipelines.sa1b import LocalRun, prepare
from data_pipelines.verify import verify
from samjax.data.records import masks as records
from samjax.data.stream.sources import open_source


class SegmentAnything(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS's builder but for the download of 10 TB."""

    VERSION = tfds.core.Version("1.0.0")
    name = "segment_anything"
    url_infos = None

    def _info(self):
        schema = segment_anything_dataset_builder.Builder(data_dir=self._data_dir_root).info.features
        return tfds.core.DatasetInfo(builder=self, features=schema, description="x")

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(1, 31):
            yield number, records.to_example(record(number))


@pytest.fixture(scope="module")
def by_tfds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by_tfds")
    builder = SegmentAnything(data_dir=folder, file_format="array_record")
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_dir=folder / "downloads", download_config=tfds.download.DownloadConfig(num_shards=3)
        )
    return folder / "segment_anything"


def test_what_tfds_wrote_is_read_and_verified(by_tfds):
    source = open_source(str(by_tfds), "train")
    found = {item.image_id: item for item in (records.decode_record(source[index]) for index in range(len(source)))}
    assert found == {number: record(number) for number in range(1, 31)}
    report = verify(str(by_tfds), sample=30)
    assert (report.problems, report.records, report.masks, report.against_report) == ((), 30, 60, False)
    assert report.shards == 3


def test_what_is_written_here_is_read_by_tfds(tmp_path):
    for number in range(3):
        write_tar(tmp_path / f"tars/sa_00000{number}.tar", good(4 + number, 1 + 10 * number))
    prepare(str(tmp_path / "tars"), tmp_path / "out", split="part", run=LocalRun(workers=1))
    builder = tfds.builder_from_directory(tmp_path / "out")
    assert builder.info.splits["part"].shard_lengths == [4, 5, 6]
    assert builder.info.splits["part"].num_bytes == sum(
        file.stat().st_size for file in (tmp_path / "out").glob("*-of-*")
    )
    examples = list(builder.as_data_source("part"))
    assert [int(example["image"]["image_id"]) for example in examples] == [*range(1, 5), *range(11, 16), *range(21, 27)]
    assert examples[0]["image"]["content"].shape == (24, 32, 3)
    assert np.asarray(examples[0]["annotations"]["area"]).tolist() == [mask.area for mask in record(1).annotations]
