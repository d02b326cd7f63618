"""Where compiled programs are kept, and when they are not."""

import os
import stat
import subprocess
import sys
import time

import jax
import pytest

from samjax.core.xla_cache import enable_compile_cache, machine


@pytest.fixture
def unset(monkeypatch, tmp_path):
    """JAX as a user's process finds it, with a home of its own."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "samjax" / "xla" / machine()
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_are_kept_in_a_folder_of_the_users_and_the_machines(unset):
    assert enable_compile_cache() == unset
    assert jax.config.jax_compilation_cache_dir == str(unset)
    assert stat.S_IMODE(unset.stat().st_mode) == 0o700
    assert list(unset.iterdir()) == []


def test_programs_of_several_processes_are_kept_where_all_of_them_read(unset, tmp_path):
    assert enable_compile_cache(shared=tmp_path / "run" / "compiled") == tmp_path / "run" / "compiled" / machine()


def test_what_the_user_said_to_jax_goes_before(unset, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    assert enable_compile_cache() == tmp_path / "theirs"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "theirs")
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert enable_compile_cache() is None
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert jax.config.jax_compilation_cache_dir is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("set_to", "variable", "kept_from"), [(1.0, None, 0.0), (1.0, "1.0", 1.0), (3.0, None, 3.0)])
def test_small_programs_are_kept_unless_the_user_said_how_small(unset, monkeypatch, set_to, variable, kept_from):
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    size = jax.config.jax_compilation_cache_max_size
    jax.config.update("jax_compilation_cache_max_size", -1)
    if variable:
        monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", variable)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", set_to)
    try:
        enable_compile_cache()
        assert jax.config.jax_persistent_cache_min_compile_time_secs == kept_from
    finally:
        jax.config.update("jax_compilation_cache_max_size", size)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", before)


def test_a_folder_that_cannot_be_made_is_one_warning(unset, tmp_path, caplog):
    (tmp_path / "samjax").write_text("a file where the folder should be")
    assert enable_compile_cache() is None
    assert jax.config.jax_compilation_cache_dir is None
    [record] = caplog.records
    assert str(tmp_path / "samjax") in record.getMessage()
    assert "JAX_COMPILATION_CACHE_DIR" in record.getMessage()


def test_programs_of_a_month_ago_are_removed(unset):
    enable_compile_cache()
    old, new = unset / "old-cache", unset / "new-cache"
    for path, days in ((old, 31), (new, 29)):
        path.write_bytes(b"program")
        os.utime(path, times=(time.time() - days * 86_400,) * 2)
    jax.config.update("jax_compilation_cache_dir", None)
    enable_compile_cache()
    assert [path.name for path in unset.iterdir()] == ["new-cache"]


_PROGRAM = """
import jax
from samjax.core.xla_cache import enable_compile_cache
enable_compile_cache()
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
jax.jit(lambda x: jax.numpy.sin(x) @ x)(jax.numpy.ones((64, 64))).block_until_ready()
print("hits" if "/jax/compilation_cache/cache_hits" in events else "none")
"""


def test_the_next_process_compiles_nothing(tmp_path):
    """Of a program that compiles in a blink, too."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    said = [
        subprocess.run(
            [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["none", "hits"]
