"""Tars unpacked alike by every Python: `filter` came with 3.11.4, and without it newer ones warn."""

import tarfile
from pathlib import Path


def unpack(tar: Path, folder: Path) -> None:
    """Write the files of a tar that a test or this repository made into a folder."""
    with tarfile.open(tar) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                place = folder / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content.read())
