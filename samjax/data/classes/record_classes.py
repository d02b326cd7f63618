"""The classes of prepared records."""

from samjax.core.errors import UserError
from samjax.data.classes.class_table import ClassTable, parse_class_table
from samjax.data.records import segments
from samjax.data.stream.data_config import DataConfig
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


def agreed_classes(
    data: DataConfig, held_out: str, *, classes: int, names: tuple[str, ...] = (), least: int = 1
) -> ClassTable:
    """Return the classes of the records to train on.

    Args:
      data: the records, all of whose sources have one table.
      held_out: the source of held-out ones, which has it too; empty is none.
      classes: how many the model has.
      names: theirs in the model; empty where it has none yet.
      least: how many there must be.

    Raises:
      UserError: tables differ, there are too few classes, or others than the model's; or as `read_record_classes`.
    """
    table = read_record_classes(data.source)
    for other in (*(one.source for one in data.mixed_in), *([held_out] if held_out else [])):
        if read_record_classes(other).names != table.names:
            raise UserError(f"{other} has other classes than {data.source}: prepare both with one table")
    if len(table.classes) < least:
        raise UserError(
            f"{data.source} has one class, so there is nothing to tell it from: prepare it with a second one, such as "
            "the background"
        )
    if len(table.classes) != classes:
        raise UserError(
            f"{data.source} has {len(table.classes)} classes, model.classes is {classes}: give "
            f"--model.classes {len(table.classes)}"
        )
    if names and names != table.names:
        raise UserError(f"model.class_names are not those of {data.source}: leave them out")
    return table
