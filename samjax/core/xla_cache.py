"""Compiled programs, cached on disk between runs."""

import hashlib
import logging
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

log = logging.getLogger(__name__)

_KEPT_S = 30 * 24 * 3600.0
_SMALLEST, _SMALLEST_OF_JAX = "jax_persistent_cache_min_compile_time_secs", 1.0


def enable_compile_cache(shared: Path | None = None) -> Path | None:
    """Turn on JAX's persistent compilation cache, in `~/.cache/samjax/xla`; return its folder, or None if there is
    none.

    `shared` is a cache folder for a multi-process run, on a file system that all processes see: only the first process
    writes, so with a cache in its home the others would recompile at every start.

    JAX's own settings take precedence: JAX_COMPILATION_CACHE_DIR, JAX_ENABLE_COMPILATION_CACHE=false, and
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS, which is 0 here because a first prediction needs many small programs.
    (It keeps JAX's default if JAX_COMPILATION_CACHE_MAX_SIZE is set: JAX then reads the whole folder for each program
    it adds.) Call this before anything is compiled. Programs are removed a month after they were compiled, since JAX
    removes none. A folder that cannot be written to is a warning.
    """
    settings: Any = jax.config  # its attributes are created when JAX starts
    if not settings.jax_enable_compilation_cache:
        return None
    is_default = _SMALLEST.upper() not in os.environ and getattr(settings, _SMALLEST) == _SMALLEST_OF_JAX
    if is_default and settings.jax_compilation_cache_max_size == -1:
        jax.config.update(_SMALLEST, 0.0)
    if settings.jax_compilation_cache_dir:
        return Path(settings.jax_compilation_cache_dir)
    try:
        folder = (shared or _home()) / machine()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # whoever can write here can run code as the reader
        with tempfile.TemporaryFile(dir=folder):
            pass
        for program in folder.iterdir():
            if program.is_file() and program.stat().st_mtime < time.time() - _KEPT_S:
                program.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        log.warning(
            "Compiled programs are not cached, so the next start compiles again: %s. "
            "Set JAX_COMPILATION_CACHE_DIR to a folder that can be written to.",
            error,
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "samjax" / "xla"


def machine() -> str:
    """Return a name for this machine's instruction set.

    JAX's cache key for CPU programs omits it, and XLA merely logs a message: on a home shared by machines it would run
    instructions that this one lacks.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        lines = [platform.processor()]
    known = [line for line in lines if line.split("\t")[0].strip(" :") in ("model name", "flags", "Features")] or lines
    return f"{platform.machine()}-{hashlib.sha256(chr(10).join(known).encode()).hexdigest()[:12]}"
