"""Kills `data_pipelines.pack` with SIGKILL at every file that it moves into place, in a new folder each, and resumes.

    python killed_pack.py SOURCE FOLDER

FOLDER/whole is packed without a kill. Prints how many kills there were.
"""

import itertools
import os
import sys

from helpers.killed_child import comes_to_its_end

from data_pipelines.pack import pack


def pack_in_child(out: str, *, die_at: int, before: bool) -> bool:
    """Return whether a child that dies before or after it moves its `die_at`-th file came to the end."""

    def work() -> None:
        pack(source, out, photos_per_tar=2)

    return comes_to_its_end(work, operations=[(os, "replace")], die_at=die_at, after=not before)


source, folder = sys.argv[1:]
pack(source, f"{folder}/whole", photos_per_tar=2)
kills = 0
for before in (True, False):
    for at in itertools.count(1):
        out = f"{folder}/killed_{before}_{at}"
        if pack_in_child(out, die_at=at, before=before):
            break
        kills += 1
        pack(source, out, photos_per_tar=2)
print(kills)
