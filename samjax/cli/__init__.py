"""The `samjax` command: one small file per subcommand."""

import os

# Before JAX is imported. XLA calls it an error where a compilation takes two minutes, usual for a large model, and asks
# people to file a bug. What ends a process is still printed, and Python raises the rest; 0 shows all.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
