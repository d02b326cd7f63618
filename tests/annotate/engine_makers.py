"""What an `EncoderProcess` may be given to make its engine with. Without JAX: its process then starts in no time."""

import os
import signal
import time

from samjax.core.errors import UserError


def crashing_engine():
    """End the process as a lack of memory does."""
    os.kill(os.getpid(), signal.SIGKILL)


def failing_engine():
    raise UserError("there is no checkpoint at runs/x")


def slow_engine():
    time.sleep(600)
