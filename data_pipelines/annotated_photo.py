"""A photo and its objects, as a preparation passes them to the processes that make its records."""

from collections.abc import Sequence
from typing import NamedTuple


class ObjectMask(NamedTuple):
    """One object of a photo."""

    id: int
    counts: str
    """Checked run lengths, with a pixel inside."""
    category: int | None = None
    """As the annotations have it; None in records of masks, which have no classes. So is `crowd`."""
    crowd: bool = False

    def description(self) -> str:
        """Return all of a mask that its record depends on, in a word."""
        of_class = "" if self.category is None else f":{self.category}:{self.crowd:d}"
        return f"{self.id}:{self.counts}{of_class}"


class AnnotatedPhoto(NamedTuple):
    """A photo and its objects; its file is read when its record is made."""

    path: str
    """In the folder of photos."""
    image_id: int
    height: int
    width: int
    masks: tuple[ObjectMask, ...]

    def description(self) -> str:
        """Return what the record depends on, see `folder_units.FolderPhoto`."""
        return " ".join(mask.description() for mask in self.masks)

    def files(self) -> Sequence[str]:
        """Return no file: the masks are here."""
        return ()
