"""A photo and its objects, as a preparation passes them to the processes that make its records."""

from typing import NamedTuple


class ObjectMask(NamedTuple):
    """One object of a photo."""

    id: int
    counts: str
    """Checked run lengths, with a pixel inside."""
    category: int | None = None
    """As the annotations have it; None in records of masks, which have no classes. So is `crowd`."""
    crowd: bool = False


class AnnotatedPhoto(NamedTuple):
    """A photo and its objects; its file is read when its record is made."""

    path: str
    """In the folder of photos."""
    image_id: int
    height: int
    width: int
    masks: tuple[ObjectMask, ...]
