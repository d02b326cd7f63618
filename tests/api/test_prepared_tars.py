"""Tars that a command prepares once: later ones are compared with them."""

import shutil

import pytest

from samjax.api.tars import prepare_once
from samjax.core.errors import UserError


@pytest.fixture(scope="module")
def sources(photos, tmp_path_factory):
    """A tar, another one, and the records of the first."""
    folder = tmp_path_factory.mktemp("sources")
    for name, split in (("first", "val"), ("second", "train")):
        (folder / name).mkdir()
        shutil.copy(photos / split / "sa_000000.tar", folder / name)
    prepare_once(str(folder / "first"), folder / "records")
    return folder


def test_the_same_tars_are_prepared_once(sources, capsys):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (sources / "records").glob("*.array_record*"))
    assert before
    assert prepare_once(str(sources / "first"), sources / "records") == str(sources / "records")
    assert sorted((p.name, p.stat().st_mtime_ns) for p in (sources / "records").glob("*.array_record*")) == before
    assert capsys.readouterr().out == ""


def test_other_tars_are_never_taken_for_those_that_were_prepared(sources):
    with pytest.raises(UserError, match=r"was prepared from something else.*sa_000000\.tar.*give .*records instead of"):
        prepare_once(str(sources / "second"), sources / "records")


def test_records_whose_tars_are_gone_are_used(sources, tmp_path, capsys):
    shutil.copytree(sources / "records", tmp_path / "records")
    assert prepare_once(str(tmp_path / "gone.tar"), tmp_path / "records") == str(tmp_path / "records")
    assert "gone.tar is not there any more" in capsys.readouterr().out
    with pytest.raises(UserError, match="holds no tars"):
        prepare_once(str(tmp_path / "gone.tar"), tmp_path / "nothing")
