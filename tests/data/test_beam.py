"""The Beam pipeline writes what the local run writes."""

import pytest
from shards import good, write_tar

from data_pipelines.sa1b import BeamRun, LocalRun, prepare
from data_pipelines.verify import verify
from samjax.cli.main import main
from samjax.core.errors import UserError

pytestmark = [
    pytest.mark.beam,
    pytest.mark.filterwarnings("default"),  # Beam has deprecations of its own
]
DIRECT = BeamRun(runner="DirectRunner", options=("--direct_num_workers=1",))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def tars(tmp_path):
    for number, first in enumerate((1, 5, 11)):
        write_tar(tmp_path / f"tars/sa_00000{number}.tar", good(5, first))
    return tmp_path / "tars"


@pytest.mark.parametrize(
    "options",
    [("--direct_num_workers=1",), ("--direct_num_workers=2", "--direct_running_mode=multi_processing")],
    ids=["one process", "two processes"],
)
def test_the_direct_runner_writes_the_same_bytes(tars, tmp_path, options):
    run = BeamRun(runner="DirectRunner", options=options)
    assert prepare(str(tars), tmp_path / "beam", run=run) == prepare(str(tars), tmp_path / "local", run=LocalRun())
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")
    assert verify(str(tmp_path / "beam")).problems == ()


def test_what_beam_left_half_done_is_gone_on_with(tars, tmp_path):
    whole = (tars / "sa_000001.tar").read_bytes()
    (tars / "sa_000001.tar").write_bytes(whole[:5000])
    with pytest.raises(UserError, match=r"1 of 3 could not be read: .*sa_000001.tar .* the other 2 are done and kept"):
        prepare(str(tars), tmp_path / "out", run=DIRECT)
    (tars / "sa_000001.tar").write_bytes(whole)
    made = {path.name: path.stat().st_ino for path in (tmp_path / "out/.prepare").glob("*.array_record")}
    assert prepare(str(tars), tmp_path / "out", run=DIRECT).records == 14
    kept = {path.stat().st_ino for path in (tmp_path / "out").glob("*.array_record-*")}
    assert len(kept & set(made.values())) == 2


def test_options_reach_beam_from_the_command_line(tars, tmp_path, capsys):
    command = ["data", "prepare", "--source", str(tars), "--runner", "DirectRunner"]
    assert main([*command, "--out", str(tmp_path / "a"), "--", "--direct_num_workers=1"]) == 0
    assert main([*command, "--out", str(tmp_path / "b"), "--direct_num_workers", "1"]) == 0
    assert "14 photos with 28 masks in 3 shards" in capsys.readouterr().out
    assert main([*command, "--out", str(tmp_path / "c"), "--direct_num_workers", "many"]) == 2
    assert "Beam refuses its options" in capsys.readouterr().err


def test_an_unknown_runner_is_named(tars, tmp_path):
    with pytest.raises(UserError, match="NoRunner pipeline failed"):
        prepare(str(tars), tmp_path / "out", run=BeamRun(runner="NoRunner"))
