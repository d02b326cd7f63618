"""What a killed save leaves is removed, and nothing else."""

import jax.numpy as jnp
from etils import epath

from samjax.checkpoint.partial_saves import partial_saves, remove_partial_saves
from samjax.checkpoint.weights import save_weights


def test_saves_that_have_not_ended_are_removed_and_counted(tmp_path):
    checkpoints = tmp_path / "checkpoints"
    save_weights(checkpoints / "4", params={"weight": jnp.ones(3)}, buffers={}, config={})
    left = checkpoints / "6.orbax-checkpoint-tmp-1764370000000000"
    (left / "state" / "d").mkdir(parents=True)
    (left / "state" / "d" / "part").write_bytes(b"x" * 1_000)
    (left / "metadata").write_bytes(b"x" * 24)
    assert partial_saves(checkpoints) == [epath.Path(left)]
    assert remove_partial_saves(checkpoints) == (1, 1_024)
    assert [path.name for path in checkpoints.iterdir()] == ["4"]
    assert remove_partial_saves(checkpoints) == (0, 0)
    assert remove_partial_saves(tmp_path / "none") == (0, 0)
