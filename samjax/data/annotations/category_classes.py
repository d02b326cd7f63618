"""The categories of a COCO or panoptic JSON as a table of classes."""

from pathlib import Path

from samjax.core.errors import UserError
from samjax.data.annotations.annotation_json import flag, index_by_id, label, read_lists
from samjax.data.classes.class_table import ClassTable, SegmentClass


def read_categories(path: str | Path) -> ClassTable:
    """Return the categories of the JSON at `path` in the order of their ids, each a class.

    Raises:
      UserError: not such a JSON, or a category that is none.
    """
    path = Path(path).expanduser()
    categories = index_by_id(read_lists(path)["categories"], path)
    if not categories:
        raise UserError(f"{path} has no category: give a table of classes")
    try:
        classes = tuple(
            SegmentClass(name=label(one), values=(number,), thing=flag(one, "isthing", default=True))
            for number, one in sorted(categories.items())
        )
    except ValueError as error:
        raise UserError(f"{path}, a category: {error}") from error
    return ClassTable(title=path.name, classes=classes)
