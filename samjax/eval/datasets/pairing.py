"""Photos and what lies in another folder under the same name."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from samjax.core.errors import UserError
from samjax.eval.datasets.dataset import Instance, Photo
from samjax.eval.datasets.images import ImageStore
from samjax.eval.datasets.problems import Problems


class Photos:
    """The photos of a store by key: what a photo has in common with its annotation, a path as a rule."""

    def __init__(self, images: ImageStore, *, key: Callable[[str], str | None], problems: Problems):
        """List the photos.

        Args:
          images: where they are.
          key: gives the key of the picture of that name, or None if it is none of the data set's photos.
          problems: told of photos that share a key, and of what is wrong later.
        """
        self._images, self._problems = images, problems
        self._named: dict[str, str] = {}
        by_last: dict[str, list[str]] = {}
        for name in images.names():
            if (found := key(name)) is None:
                continue
            if found in self._named:
                problems.add("photos of the same name", name)
                continue
            self._named[found] = name
            by_last.setdefault(PurePosixPath(found).name, []).append(found)
        self._by_last = {last: keys[0] for last, keys in by_last.items() if len(keys) == 1}

    def pair(self, keys: Mapping[str, str], *, kind: str) -> dict[str, str]:
        """Return the photo's name for each of `keys` that has one.

        The photo of that very key is taken, else the only one whose key has the same last part.

        Args:
          keys: by key, what messages call it.
          kind: what it is, as "label maps". Those without a photo, and photos without one, are problems.
        """
        pairs: dict[str, str] = {}
        taken: set[str] = set()
        for key, called in keys.items():
            place = key if key in self._named else self._by_last.get(PurePosixPath(key).name)
            if place is None:
                self._problems.add(f"{kind} without a photo", called)
            elif self._named[place] in taken:
                self._problems.add(f"{kind} of the same name", called)
            else:
                pairs[key] = self._named[place]
                taken.add(pairs[key])
        for name in self._named.values():
            if name not in taken:
                self._problems.add(f"photos without {kind}", name)
        return pairs

    def is_of_size(self, name: str, size: tuple[int, int], *, kind: str, called: str) -> bool:
        """Return whether the photo called `name` has `size`, by its header; else told of what is `called`."""
        return is_of_size(self._images, name, size, problems=self._problems, kind=kind, called=called)

    def photo(self, name: str, *, id: int, size: tuple[int, int], instances: tuple[Instance, ...]) -> Photo:
        """Return the photo called `name`, which is of `size`."""
        read = self._images.find(name, height=size[0], width=size[1])
        assert read is not None, name
        return Photo(id=id, name=name, height=size[0], width=size[1], instances=instances, read=read)


def is_of_size(
    images: ImageStore,
    name: str,
    size: tuple[int, int],
    *,
    problems: Problems,
    kind: str = "photos",
    called: str = "",
) -> bool:
    """Return whether the photo called `name`, which is in the store, has the (height, width) `size`, by its header.

    If not, that is told as a problem of what is `called`, of its `kind`, or of the photo.
    """
    try:
        stored = images.size(name)
    except UserError as error:
        problems.add("photos that cannot be read", error)
        return False
    if stored != size:
        other = "the file says" if kind == "photos" else "their photo"
        problems.add(f"{kind} of another size than {other}", called or name)
    return stored == size


def path_key(name: str, *, suffix: str) -> str | None:
    """Return a picture's path without `suffix`, or its extension if that is empty; None if it does not end so."""
    if not suffix:
        return str(PurePosixPath(name).with_suffix(""))
    return name.removesuffix(suffix) if name.endswith(suffix) else None
