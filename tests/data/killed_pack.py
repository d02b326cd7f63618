"""Kills `data_pipelines.pack` with SIGKILL at every file that it moves into place, in a new folder each, and resumes.

    python killed_pack.py SOURCE FOLDER

FOLDER/whole is packed without a kill. Prints how many kills there were.
"""

import itertools
import os
import signal
import sys

from data_pipelines.pack import pack
from samjax.core import files


def pack_in_child(out: str, *, die_at: int, before: bool) -> bool:
    """Return whether a child that dies before or after it moves its `die_at`-th file came to the end."""
    child = os.fork()
    if child == 0:
        replace, count = os.replace, 0

        def dying(source, target):
            nonlocal count
            count += 1
            if count == die_at and before:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)
            if count == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        files.os.replace = dying
        pack(source, out, photos_per_tar=2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


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
