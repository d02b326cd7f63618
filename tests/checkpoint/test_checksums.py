"""Sums of arrays on the host and on devices are the same numbers, and those of old checkpoints."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from samjax.checkpoint import checksums
from samjax.checkpoint.checksums import record

DRAW = np.random.default_rng(0)
ARRAYS = {
    "matrix": DRAW.normal(size=(3, 5, 7)).astype(np.float32),
    "transposed": DRAW.normal(size=(30, 50)).astype(np.float32).T,
    "scalar": np.array(3, np.int32),
    "bfloat16": DRAW.normal(size=(33, 3)).astype(ml_dtypes.bfloat16),
    "bool": DRAW.random((5, 9)) > 0.5,
    "bytes": DRAW.integers(0, 256, (7, 7)).astype(np.uint8),
    "signed": DRAW.integers(-100, 100, 9).astype(np.int8),
    "empty": np.zeros((0, 3), np.float32),
}


def test_host_and_devices_agree(monkeypatch):
    monkeypatch.setattr(checksums, "_AT_ONCE", 16)  # so that arrays are in several parts
    on_host, on_devices = record(ARRAYS), record({name: jnp.asarray(array) for name, array in ARRAYS.items()})
    assert on_host == on_devices
    assert record({"double": np.arange(40.0)})[0]["double"]["dtype"] == "float64"


def test_sums_are_those_that_checkpoints_have():
    """Numbers of the first version: whoever changes a sum makes every old checkpoint a damaged one."""
    arrays = {"x": np.arange(12, dtype=np.float32).reshape(3, 4), "y": np.array([True, False, True])}
    sums = {name: entry["sums"] for name, entry in record(arrays)[0].items()}
    assert sums == {"x": [4011851776, 2669674496], "y": [1362114270, 639397094]}


def test_nothing_is_compiled_for_arrays_on_the_host(monkeypatch):
    monkeypatch.setattr(checksums, "_inspect", lambda _: pytest.fail("a program was compiled"))
    assert record(ARRAYS)[1] is True


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["matrix", "bfloat16"])
def test_numbers_that_are_not_finite_are_found(name, bad):
    changed = ARRAYS[name].copy()
    changed.flat[-1] = bad
    assert record({**ARRAYS, name: changed})[1] is False
    assert record({"ok": jnp.ones(3), name: changed})[1] is False


def test_a_changed_word_changes_the_sums(monkeypatch):
    monkeypatch.setattr(checksums, "_AT_ONCE", 16)
    before = record({"x": ARRAYS["transposed"]})[0]
    for place in (0, 15, 16, -1):
        changed = ARRAYS["transposed"].copy()
        changed.view(np.uint32).flat[place] ^= 1
        assert record({"x": changed})[0] != before


def test_both_kinds_may_be_in_one_state():
    mixed, _ = record({"host": ARRAYS["matrix"], "device": jax.device_put(ARRAYS["matrix"])})
    assert mixed["host"] == mixed["device"]
