"""Kills `samjax generate --part` with SIGKILL at every file that it moves into place, and starts it again.

    python killed_part.py CHECKPOINT IMAGES FOLDER

FOLDER/whole is one part, never killed; FOLDER/killed is two, of which each dies at its first file, then at its second,
and so on until one comes to its end. Prints how often it was killed; fails where it does not come to its end.
"""

import os
import signal
import sys

import pytest
from helpers.quick_generator import without_model

from samjax.cli.main import main
from samjax.core import files


def generate(part: str, out: str, *, die_at: int = 0) -> bool:
    """Return whether a child that dies at its `die_at`-th file, before or after it is moved, came to the end."""
    child = os.fork()
    if child == 0:
        replace, count = os.replace, 0

        def dying(source, target):
            nonlocal count
            count += 1
            if count == die_at and die_at % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)
            if count == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        files.os.replace = dying
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        os._exit(main(["generate", "--checkpoint", checkpoint, "--images", images, "--out", out, "--part", part]))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


checkpoint, images, folder = sys.argv[1:]
without_model(pytest.MonkeyPatch())
generate("1/1", f"{folder}/whole")
kills = 0
for number in (1, 2):
    at = 1
    while not generate(f"{number}/2", f"{folder}/killed", die_at=at):
        kills, at = kills + 1, at % 4 + 1
        assert kills < 100
print(kills)
