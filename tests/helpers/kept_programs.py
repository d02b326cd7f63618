"""Where tests keep compiled programs: shared by workers, by the processes that tests start, and by the next run."""

import importlib.util
import os
from pathlib import Path

import jaxlib

from samjax.core.xla_cache import machine


def settings() -> dict[str, str | int | float]:
    """Return JAX's settings by name; as variables of a process's environment the names are in capitals.

    With a maximum size JAX locks the folder, and reads every entry for each program that it adds, which takes a tenth
    of a second where there are 700: programs that compile in less time than that are not worth it. Without `filelock`,
    by which it locks, nothing is kept.
    """
    if importlib.util.find_spec("filelock") is None:
        return {}
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {
        "jax_compilation_cache_dir": str(home / "samjax" / "tests" / f"jaxlib-{jaxlib.__version__}-{machine()}"),
        "jax_compilation_cache_max_size": 4 * 2**30,
        "jax_persistent_cache_min_compile_time_secs": 0.2,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }


def variables() -> dict[str, str]:
    """Return the settings as variables of a process's environment."""
    return {name.upper(): str(value) for name, value in settings().items()}
