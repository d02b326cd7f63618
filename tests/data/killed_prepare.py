"""Kills `prepare` with SIGKILL at every file it moves into place or flushes, each time in a new folder, and goes on.

    python killed_prepare.py SOURCE FOLDER STRIDE

FOLDER/whole is prepared without a kill. STRIDE 1 tries every place, 2 every other. Prints how many were tried; fails
where the result differs.
"""

import filecmp
import os
import sys
from pathlib import Path

import pytest
from helpers.killed_child import comes_to_its_end

from data_pipelines import sa1b, storage
from samjax.core import files
from samjax.core.errors import UserError
from samjax.data.stream.sources import open_source


def prepare_in_child(source, out, *, die_at):
    """Return whether a child that dies at its `die_at`-th operation came to the end."""

    def work():
        sa1b.prepare(source, out, run=sa1b.LocalRun(workers=1))

    operations = [(files, "sync"), (os, "replace"), (storage.Folder, "remove_folder")]
    return comes_to_its_end(work, operations=operations, die_at=die_at)


def main(source, folder, stride):
    whole = folder / "whole"
    assert prepare_in_child(source, whole, die_at=-1)
    place, tried, names = 1, 0, sorted(path.name for path in whole.iterdir())
    while True:
        out = folder / f"killed-{place}"
        if prepare_in_child(source, out, die_at=place):
            break
        tried += 1
        if not (out / "dataset_info.json").exists():
            with pytest.raises(UserError, match=r"dataset_info\.json|is not a folder"):
                open_source(str(out), "train")
        # Killed again on the way, at another place, before it may come to its end.
        prepare_in_child(source, out, die_at=1 + place % 7)
        assert prepare_in_child(source, out, die_at=-1)
        assert sorted(path.name for path in out.iterdir()) == names, out
        assert not filecmp.cmpfiles(whole, out, names, shallow=False)[1], out
        place += stride
    print(tried)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
