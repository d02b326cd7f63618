"""The classes of prepared records."""

from collections.abc import Iterable

from samjax.core.errors import UserError
from samjax.data.classes.class_table import ClassTable, parse_class_table
from samjax.data.records import segments
from samjax.data.stream.sources import open_info


def read_record_classes(source: str) -> ClassTable:
    """Return the table of classes that a folder of records was prepared with.

    Raises:
      UserError: there is no such folder, its records have no segments, or it has lost its table.
    """
    _, folder = open_info(source, segments.SCHEMA)
    try:
        content = (folder / segments.CLASSES).read_text()
    except OSError as error:
        raise UserError(
            f"{folder}/{segments.CLASSES} cannot be read ({error.strerror or error}): prepare the data again"
        ) from error
    return parse_class_table(content, name=f"{folder}/{segments.CLASSES}")


def agreed_classes(source: str, others: Iterable[str], *, classes: int) -> ClassTable:
    """Return the table of `source`, which that of all `others` must equal, and of as many classes as the model has.

    Raises:
      UserError: it does not, has another number of classes, or as `read_record_classes`.
    """
    table = read_record_classes(source)
    for other in others:
        if read_record_classes(other).names != table.names:
            raise UserError(f"{other} has other classes than {source}: prepare both with one table")
    if len(table.classes) != classes:
        raise UserError(
            f"{source} has {len(table.classes)} classes, model.classes is {classes}: give "
            f"--model.classes {len(table.classes)}"
        )
    return table
