"""Tars and folders of photos, prepared once where a command reads records."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.data.records import masks, photos
from samjax.data.records.schema import Schema
from samjax.data.stream.sources import holds_records, is_sa1b_layout
from samjax.data.synthetic.source import is_synthetic


def needs_preparing(source: str, schema: Schema) -> bool:
    """Return whether `source` is no folder of records, but what records of `schema` are prepared from."""
    if schema is not photos.SCHEMA:
        return is_sa1b_layout(source)
    return bool(source) and not is_synthetic(source) and not holds_records(source)


def prepare_once(source: str, out: Path, *, split: str = "train", schema: Schema = masks.SCHEMA) -> str:
    """Return the folder of the records of `source`: `out`, prepared if it is not yet.

    If the tars are gone, the existing records are used, with a message.

    Args:
      source: tars or pairs in SA-1B's layout; for photos alone, tars or folders of photos, or a glob of either.
      out: where the records are, or are written.
      split: the one split's name.
      schema: of the records.

    Raises:
      UserError: `out` was prepared from other tars than `source` names now, or see `data_pipelines.preparation`.
    """
    from data_pipelines.preparation import MissingSourceError

    prepare = _pipeline(schema)
    is_prepared = (out / "dataset_info.json").exists()
    try:
        report = prepare(source, out, split=split)
    except MissingSourceError:
        if not is_prepared:
            raise
        print(f"{source} is not there any more; {out} has its records", flush=True)
        return str(out)
    except UserError as error:
        if not is_prepared:
            raise
        raise UserError(f"{error}; to go on with the records as they are, give {out} instead of {source}") from error
    if not is_prepared:
        print(f"prepared {source} into {out}: {report.text()}", flush=True)
    return str(out)


def _pipeline(schema: Schema) -> Callable[..., Any]:
    """Return what prepares records of `schema`."""
    if schema is photos.SCHEMA:
        from data_pipelines.photos import prepare
    else:
        from data_pipelines.sa1b import prepare
    return prepare
