"""Maps of photos, a file each whose pixels lie on the photo's: which file is of which photo."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from samjax.core.errors import UserError
from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageStore
from samjax.data.annotations.listing import files_under
from samjax.data.annotations.pairing import Photos, path_key
from samjax.data.annotations.problems import Problems

NO_OTHERS: Mapping[str, str] = {}


class MapFile(NamedTuple):
    """A map, and its photo."""

    photo: str
    """The photo's name in its store."""
    name: str
    """The map's path in the folder of maps."""
    path: Path


def find_map_files(
    path: str | Path,
    *,
    images: ImageStore,
    options: FormatOptions,
    endings: Sequence[str],
    others: Mapping[str, str] = NO_OTHERS,
    kind: str,
    problems: Problems,
) -> tuple[Photos, list[MapFile]]:
    """Return the photos, and the maps under `path` with theirs, in the order of the paths.

    A map belongs to the photo with the same path, or, if that is not there, the same name, if only one photo and one
    map have it, but for `endings` and `options.photo_suffix`.

    Args:
      path: the folder of maps.
      images: the photos.
      options: of which `photo_suffix` and `photos_from` count.
      endings: what the names of maps end on, in capitals or not.
      others: what files are called that `--map-suffix` may name instead, by their endings.
      kind: what they are in messages: "label maps".
      problems: collects photos or maps without the other, or of one name.

    Raises:
      UserError: no such folder, or no map in it.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{path} is not a folder: give the folder of the {kind}")
    lower = tuple(ending.lower() for ending in endings)
    files = list(files_under(folder))
    maps = {
        found.relative_to(folder).as_posix(): found
        for found in files
        if found.name.lower().endswith(lower)
        and (not options.photos_from or found.name.startswith(options.photos_from))
    }
    if not maps:
        counts = {ending: sum(found.name.lower().endswith(ending) for found in files) for ending in others}
        hint = "".join(
            f"; of {count:,} {others[ending]} give --map-suffix {ending}" for ending, count in counts.items() if count
        )
        wanted = " or ".join(map(repr, endings))
        raise UserError(f"{path} holds no {kind}: give a folder of files that end on {wanted}{hint}")
    inside = {images.place_of(found) for found in maps.values()}

    def key_of(photo: str) -> str | None:
        last = PurePosixPath(photo).name
        if images.place(photo) in inside or (options.photos_from and not last.startswith(options.photos_from)):
            return None
        return path_key(photo, suffix=options.photo_suffix)

    photos = Photos(images, key=key_of, problems=problems)
    keys: dict[str, str] = {}
    twice: set[str] = set()
    for called in maps:
        key = called[: -len(next(ending for ending in lower if called.lower().endswith(ending)))]
        if keys.setdefault(key, called) != called:  # a.png and a.PNG
            problems.add(f"{kind} of the same name", f"{keys[key]} and {called}")
            twice.add(key)
    pairs = photos.pair(keys, kind=kind)
    return photos, [
        MapFile(photo=pairs[key], name=keys[key], path=maps[keys[key]]) for key in sorted(pairs) if key not in twice
    ]
