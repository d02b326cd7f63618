"""A run that an earlier version began goes on with the same losses.

`golden/earlier_run` holds the checkpoint of step 3 of such a run, by commit 2bce130, before tasks: its state, its place
in the data and its config as they were written then. The losses are those that the earlier version took from there.
"""

import dataclasses
import tarfile
from pathlib import Path

import jax
import pytest
from compiled_steps import share

from samjax.parallel.mesh import make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.train.loop import train
from samjax.train.trackers import JsonLines

CHECKPOINT = Path(__file__).parents[1] / "golden" / "earlier_run" / "checkpoint_3.tar.gz"
ROWS = {
    4: [14.207401275634766, 48.1601676940918],
    5: [13.516414642333984, 34.90873718261719],
    6: [13.212442398071289, 34.354557037353516],
}
"""Loss and gradient norm, by step."""


def test_a_run_of_an_earlier_version_goes_on_with_its_losses(micro_run, tmp_path, monkeypatch, capsys):
    """`samjax train` gave all their digits on one machine; tests compile quickly, which rounds otherwise."""
    share(monkeypatch)
    data = dataclasses.replace(
        micro_run.data, source="synthetic:photos=24,seed=5", scale_jitter=(0.5, 2.0), flip_probability=0.5
    )
    config = dataclasses.replace(micro_run, data=data)
    with tarfile.open(CHECKPOINT) as archive:
        archive.extractall(tmp_path / "checkpoints", filter="data")
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    stream = config.stream(sharding=batch_sharding(mesh))
    try:
        train(config, workdir=tmp_path, mesh=mesh, stream=stream)
    finally:
        stream.close()
    assert f"resumed from step 3 in {tmp_path / 'checkpoints'}" in capsys.readouterr().out
    rows = JsonLines.read(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(ROWS)
    for row in rows:
        assert [row["loss"], row["grad_norm"]] == pytest.approx(ROWS[row["step"]], rel=1e-4), row["step"]
    assert stream.counts["records"] == 12
    assert stream.counts["masks"] == 24
