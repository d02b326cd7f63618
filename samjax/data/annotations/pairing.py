"""Photos and their annotations, paired by path or name, one to one."""

import functools
from collections.abc import Callable, Hashable, Mapping
from pathlib import PurePosixPath
from typing import TypeVar

from samjax.core.errors import UserError
from samjax.data.annotations.dataset import Instance, Photo
from samjax.data.annotations.images import ImageStore
from samjax.data.annotations.lazy_dataset import LazyPhoto
from samjax.data.annotations.problems import Problems

SAME_PHOTO = "images that lead to one photo"
MISSING = "images whose photo is missing"
UNREADABLE = "photos that cannot be read"

K = TypeVar("K", bound=Hashable)


class Photos:
    """The photos of a store by key: what a photo has in common with its annotation, a path as a rule."""

    def __init__(self, images: ImageStore, *, key: Callable[[str], str | None], problems: Problems):
        """List the photos.

        Args:
          images: where they are.
          key: gives the key of the picture of that name, or None if it is none of the data set's photos.
          problems: collects photos that share a key, all of which are left out, and what `pair` finds.
        """
        self._images, self._problems = images, problems
        named: dict[str, list[str]] = {}
        for name in images.names():
            if (found := key(name)) is not None:
                named.setdefault(found, []).append(name)
        self._named: dict[str, str] = {}
        for found, names in named.items():
            holders = images.holders(names[0])
            if len(names) > 1:
                problems.add("photos of the same name", " and ".join(names))
            elif len(holders) > 1:
                problems.add("photos of the same name", f"{names[0]}, {' and '.join(holders)}")
            else:
                self._named[found] = names[0]
        self._ambiguous = named.keys() - self._named.keys()
        self._unpaired: list[str] = []
        self._by_last: dict[str, list[str]] = {}
        for found in named:
            self._by_last.setdefault(_last(found), []).append(found)

    def pair(self, keys: Mapping[str, str], *, kind: str) -> dict[str, str]:
        """Return the name of the photo of each of `keys`; no photo is of two.

        The photo with the same key is taken. If there is none, the photo with the same last part of the key is taken,
        provided that no other photo and no other of `keys` has that last part.

        Args:
          keys: by key, what messages call it.
          kind: what it is, as "label maps". Those without a photo, and photos without one, are problems.
        """
        asking: dict[str, list[str]] = {}
        for key in keys:
            asking.setdefault(_last(key), []).append(key)
        own = {key for key in keys if key in self._named or key in self._ambiguous}
        found, told = {key: key for key in own}, set[str]()
        for key, called in keys.items():
            if key in own:
                continue
            alike = self._by_last.get(_last(key), [])
            free = [one for one in alike if one not in own]
            rivals = [one for one in asking[_last(key)] if one not in own]
            if not free:
                self._problems.add(f"{kind} without a photo", called)
            elif len(asking[_last(key)]) > 1:
                if key == rivals[0]:  # told once
                    names, photos = (keys[one] for one in asking[_last(key)]), map(self._call, free)
                    which = f"{' and '.join(names)} for {' and '.join(photos)}"
                    self._problems.add(f"{kind} of the same name", which, times=len(rivals))
            elif len(alike) > 1:
                names = " and ".join(map(self._call, alike))
                self._problems.add(f"{kind} whose photo may be one of several", f"{called}: {names}")
            else:
                found[key] = free[0]
                continue
            told.update(free)
        places: dict[str, list[str]] = {}
        for key in keys:
            if (photo := found.get(key)) in self._named:
                places.setdefault(self._images.place(self._named[photo]), []).append(key)
        pairs: dict[str, str] = {}
        for those in places.values():
            if len(those) > 1:
                names = " and ".join(keys[key] for key in those)
                self._problems.add(f"{kind} of one photo", f"{names}: {self._call(found[those[0]])}", times=len(those))
            else:
                pairs[those[0]] = self._named[found[those[0]]]
        for photo, name in self._named.items():
            if photo not in told and self._images.place(name) not in places:
                self._problems.add_without_annotations(f"photos without {kind}", name)
                self._unpaired.append(name)
        return pairs

    def without_annotations(self, *, first_id: int) -> list[LazyPhoto]:
        """Return the photos that `pair` found nothing for, sorted, numbered from `first_id`; they have no instances."""
        return [
            LazyPhoto(
                id=number,
                name=name,
                objects=0,
                decode=lambda: None,
                accept=functools.partial(self._without_instances, name, number),
            )
            for number, name in enumerate(sorted(self._unpaired), first_id)
        ]

    def _without_instances(self, name: str, number: int, _: object) -> Photo | None:
        try:
            size = self._images.size(name)
        except UserError as error:
            self._problems.add(UNREADABLE, error)
            return None
        return self.photo(name, id=number, size=size, instances=())

    def _call(self, photo: str) -> str:
        return self._named.get(photo, photo)

    def is_of_size(self, name: str, size: tuple[int, int], *, kind: str, called: str) -> bool:
        """Return whether the photo called `name` has `size`, by its header; else told of what is `called`."""
        return is_of_size(self._images, name, size, problems=self._problems, kind=kind, called=called)

    def photo(self, name: str, *, id: int, size: tuple[int, int], instances: tuple[Instance, ...]) -> Photo:
        """Return the photo called `name`, which is of `size`."""
        read = self._images.reader(name, height=size[0], width=size[1])
        return Photo(id=id, name=name, path=name, height=size[0], width=size[1], instances=instances, read=read)


def find_photos(images: ImageStore, wanted: Mapping[K, list[str]], *, problems: Problems) -> dict[K, str]:
    r"""Return the name in the store of each image's photo; no photo is of two images.

    The photo with the image's path is taken. If there is none, the photo with the same last part of the path is taken,
    provided that no other photo and no other image has that last part. A Windows path, `images\a.jpg`, is read as
    `images/a.jpg` unless there is a file of the first name.

    Args:
      wanted: by image, the file names that it may have, the likeliest first.
      problems: collects images without a photo, and those that share a name or a photo.
    """
    named = {image: _spellings(names) for image, names in wanted.items()}
    asking: dict[str, list[str]] = {}
    for names in named.values():
        for last in {_last(name) for name in names}:
            asking.setdefault(last, []).append(names[0])
    found: dict[K, str] = {}
    for image, names in named.items():
        called = names[0]
        own = next((name for name in names if images.holders(name)), None)
        if own is None:
            last = next((last for last in map(_last, names) if images.namesakes(last)), None)
            alike = [] if last is None else images.namesakes(last)
            others = [] if last is None else [one for one in asking[last] if one != called]
            if len(alike) > 1:
                problems.add("images whose photo may be one of several", f"{called}: {' and '.join(alike[:3])}")
            elif not alike:
                problems.add(MISSING, called)
            elif others:
                problems.add(MISSING, f"{called}: {alike[0]} is there, but {others[0]} asks for it too")
            else:
                own = alike[0]
        if own is not None:
            holders = images.holders(own)
            if len(holders) > 1:
                problems.add("images whose photo may be one of several", f"{called}: {' and '.join(holders[:3])}")
            else:
                found[image] = own
    places: dict[str, list[K]] = {}
    for image, name in found.items():
        places.setdefault(images.place(name), []).append(image)
    for those in places.values():
        if len(those) > 1:
            asked = " and ".join(f"id {image!r}, {named[image][0]}" for image in those[:3])
            problems.add(SAME_PHOTO, asked, times=len(those))
            for image in those:
                del found[image]
    return found


def _spellings(names: list[str]) -> list[str]:
    """Return the names as they are, then with slashes for the backslashes of Windows."""
    return list(dict.fromkeys([*names, *(name.replace("\\", "/") for name in names)]))


def _last(name: str) -> str:
    return PurePosixPath(name).name


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
        problems.add(UNREADABLE, error)
        return False
    if stored != size:
        other = "the file says" if kind == "photos" else "their photo"
        photo, annotated = f"{stored[1]} x {stored[0]}", f"{size[1]} x {size[0]}"
        sizes = f"{photo}, not {annotated}" if kind == "photos" else f"{annotated}, its photo {photo}"
        exif = ""
        if stored == size[::-1] and images.is_turned_by_exif(name):
            exif = ": EXIF turns the photo, and masks must lie on its pixels as they are stored"
        problems.add(f"{kind} of another size than {other}", f"{called or name} is {sizes}{exif}")
    return stored == size


def path_key(name: str, *, suffix: str) -> str | None:
    """Return a picture's path without `suffix`, or its extension if that is empty; None if it does not end so.

    As in extensions, capitals do not matter.
    """
    if not suffix:
        return str(PurePosixPath(name).with_suffix(""))
    return name[: -len(suffix)] if name.lower().endswith(suffix.lower()) else None
