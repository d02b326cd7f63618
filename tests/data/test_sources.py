import json
import pickle
import shutil

import pytest
import tensorflow_datasets as tfds
from etils import epath
from shards import record, write_tar

from samjax.core.errors import UserError
from samjax.data.records.masks import RecordError, decode_record
from samjax.data.stream.sources import holds_records, is_sa1b_layout, open_info, open_source


def test_every_record_is_read_once_also_after_pickling(prepared):
    source = pickle.loads(pickle.dumps(open_source(str(prepared / "train"), "train")))
    ids = [decode_record(source[index]).image_id for index in range(len(source))]
    assert len(ids) == len(set(ids)) == 42


def test_a_data_set_is_found_up_to_two_levels_below(prepared, tmp_path):
    shutil.copytree(prepared / "train", tmp_path / "sa1b/1.0.0")
    shutil.copytree(prepared / "train", tmp_path / ".trash")
    shutil.copytree(prepared / "train", tmp_path / "sa1b/.snapshot")
    assert len(open_source(str(tmp_path), "train")) == 42
    assert len(open_source(str(tmp_path / "sa1b"), "train")) == 42
    shutil.copytree(prepared / "train", tmp_path / "sa1b/1.0.1")
    with pytest.raises(UserError, match=r"several data sets.*1\.0\.0.*1\.0\.1"):
        open_source(str(tmp_path), "train")


def test_splits_are_read_one_after_the_other(prepared, tmp_path):
    """TFDS keeps several splits in one folder."""
    shutil.copytree(prepared / "train", tmp_path / "both")
    shutil.copy(prepared / "val/sa1b-val.array_record-00000-of-00001", tmp_path / "both")
    info = json.loads((tmp_path / "both/dataset_info.json").read_text())
    info["splits"] += json.loads((prepared / "val/dataset_info.json").read_text())["splits"]
    (tmp_path / "both/dataset_info.json").write_text(json.dumps(info))
    assert len(open_source(str(tmp_path / "both"), "train+val")) == 95
    assert len(open_source(str(tmp_path / "both"), "val")) == 53


def folders(tmp_path, write_dataset, prepared):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    no_records = write_dataset([], "no_records")
    no_shard = write_dataset([record(1)], "no_shard")
    next(no_shard.glob("*array_record*")).unlink()
    cut = write_dataset([record(number) for number in range(9)], "cut")
    shard = next(cut.glob("*array_record*"))
    shard.write_bytes(shard.read_bytes()[:-1000])
    fewer = write_dataset([record(1), record(2)], "fewer")
    shutil.copy(fewer / "dataset_info.json", fewer / "old.json")
    info = (fewer / "dataset_info.json").read_text().replace('["2"]', '["3"]')
    (fewer / "dataset_info.json").write_text(info)
    no_json = write_dataset([record(1)], "no_json")
    (no_json / "dataset_info.json").write_text("{]")
    other = write_dataset([record(1)], "other")
    features = tfds.features.FeaturesDict({"label": tfds.features.ClassLabel(num_classes=3)})
    features.save_config(other)
    return {
        tmp_path / "none": "is not a folder",
        tmp_path / "file": "is not a folder",
        tmp_path / "empty": "holds no dataset_info.json",
        no_records: "is empty",
        no_shard: "missing or damaged",
        cut: "missing or damaged",
        fewer: "holds 2 records but dataset_info.json says 3",
        no_json: "no readable TFDS data set",
        other: "another schema",
    }


def test_what_is_no_data_set_is_refused_in_one_sentence(tmp_path, write_dataset, prepared):
    for folder, says in folders(tmp_path, write_dataset, prepared).items():
        with pytest.raises(UserError, match=says) as caught:
            open_source(str(folder), "train")
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_unknown_split_names_those_there_are(prepared):
    with pytest.raises(UserError, match="no split 'test': it has train"):
        open_source(str(prepared / "train"), "test")


def test_a_damaged_stretch_costs_only_its_records(write_dataset):
    folder = write_dataset([record(number) for number in range(20)])
    shard = next(folder.glob("*array_record*"))
    data = bytearray(shard.read_bytes())
    at = data.index(b"sa_7.jpg") if b"sa_7.jpg" in data else len(data) // 4
    data[at : at + 30] = bytes(30)
    shard.write_bytes(data)
    source = open_source(str(folder), "train")
    broken = 0
    for index in range(20):
        try:
            decode_record(source[index])
        except RecordError as error:
            assert "cannot be read from its shard" in str(error)  # noqa: PT017
            broken += 1
    assert 1 <= broken <= 2


def test_tars_are_told_from_prepared_folders(prepared, photos, tmp_path):
    assert is_sa1b_layout(str(photos / "train"))
    assert is_sa1b_layout(str(photos / "train/sa_000000.tar"))
    assert is_sa1b_layout("gs://bucket/sa_0000*.tar")
    assert not is_sa1b_layout(str(prepared / "train"))
    assert not is_sa1b_layout(str(tmp_path))
    assert not is_sa1b_layout(str(tmp_path / "none"))
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "sa_7.json").touch()
    assert is_sa1b_layout(str(tmp_path / "pairs"))
    (tmp_path / "._sa_1.tar").touch()
    assert not is_sa1b_layout(str(tmp_path))
    write_tar(tmp_path / "sa_1.tar", {})
    assert is_sa1b_layout(str(tmp_path))


@pytest.mark.parametrize(("levels", "held"), [(0, True), (1, True), (2, True), (3, False)])
def test_records_are_seen_where_they_are_opened(prepared, tmp_path, levels, held):
    folder = tmp_path.joinpath(*"abc"[:levels])
    folder.parent.mkdir(parents=True, exist_ok=True)
    if levels == 0:
        folder = tmp_path / "here"
    shutil.copytree(prepared / "val", folder)
    root = str(folder if levels == 0 else tmp_path)
    assert holds_records(root) is held
    if held:
        assert open_info(root)[1] == epath.Path(folder)
    else:
        with pytest.raises(UserError, match="no dataset_info"):
            open_info(root)
