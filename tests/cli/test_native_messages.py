"""What XLA prints by itself."""

import os
import subprocess
import sys

SCRIPT = "import os, sys, samjax.cli; print(os.environ['TF_CPP_MIN_LOG_LEVEL'], 'jax' in sys.modules)"


def printed(**environment: str) -> str:
    rest = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], env=rest | environment, capture_output=True, text=True, check=True
    ).stdout


def test_commands_keep_the_alarm_about_slow_compilations_from_people():
    """It is an error to XLA: 'Very slow compile? If you want to file a bug, ...'. JAX reads the level when imported."""
    assert printed() == "3 False\n"


def test_whoever_wants_all_messages_gets_them():
    assert printed(TF_CPP_MIN_LOG_LEVEL="0") == "0 False\n"
