"""Kills `samjax generate --part` with SIGKILL at every file that it moves into place, and starts it again.

    python killed_part.py CHECKPOINT IMAGES FOLDER

FOLDER/whole is one part, never killed; FOLDER/killed is two, of which each dies at its first file, then at its second,
and so on until one comes to its end. Prints how often it was killed; fails where it does not come to its end.
"""

import os
import sys

import pytest
from helpers.killed_child import comes_to_its_end
from helpers.quick_generator import without_model

from samjax.cli.main import main


def generate(part: str, out: str, *, die_at: int = 0) -> bool:
    """Return whether a child that dies at its `die_at`-th file, before or after it is moved, came to the end."""

    def work() -> int:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return main(["generate", "--checkpoint", checkpoint, "--images", images, "--out", out, "--part", part])

    return comes_to_its_end(work, operations=[(os, "replace")], die_at=die_at, after=die_at % 2 == 0)


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
