"""Compiled programs, kept on disk from run to run."""

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
    """Turn on JAX's persistent compilation cache, under `~/.cache/samjax/xla`; return its folder, None without one.

    `shared` is the folder of a run of several processes, on a file system that all of them see: JAX lets the first of
    them alone write, and what lies in that one's home the others would compile again at every start.

    JAX's own settings take precedence: JAX_COMPILATION_CACHE_DIR, JAX_ENABLE_COMPILATION_CACHE=false, and
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS, which is 0 here: a first answer needs many small programs. (It stays
    where JAX_COMPILATION_CACHE_MAX_SIZE is set: JAX then reads the whole folder for each program it adds.) Call it
    before anything is compiled. Programs are removed a month after they were compiled, as JAX removes none. A folder
    that cannot be written to is a warning.
    """
    settings: Any = jax.config  # whose attributes are made when JAX starts
    if not settings.jax_enable_compilation_cache:
        return None
    is_default = _SMALLEST.upper() not in os.environ and getattr(settings, _SMALLEST) == _SMALLEST_OF_JAX
    if is_default and settings.jax_compilation_cache_max_size == -1:
        jax.config.update(_SMALLEST, 0.0)
    if settings.jax_compilation_cache_dir:
        return Path(settings.jax_compilation_cache_dir)
    try:
        folder = (shared or _home()) / machine()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # whoever writes here runs code as its reader
        with tempfile.TemporaryFile(dir=folder):
            pass
        for program in folder.iterdir():
            if program.is_file() and program.stat().st_mtime < time.time() - _KEPT_S:
                program.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        log.warning(
            "Compiled programs are not kept, so that the next start compiles again: %s. "
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

    JAX's key to a program for the CPU leaves it out, and XLA runs what it finds with no more than a message: on a home
    that machines share, instructions that this one has not.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        lines = [platform.processor()]
    known = [line for line in lines if line.split("\t")[0].strip(" :") in ("model name", "flags", "Features")] or lines
    return f"{platform.machine()}-{hashlib.sha256(chr(10).join(known).encode()).hexdigest()[:12]}"
