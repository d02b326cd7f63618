"""Prepares SA-1B's tars once, for commands that read records."""

from pathlib import Path

from samjax.core.errors import UserError


def prepare_once(source: str, out: Path, *, split: str = "train") -> str:
    """Return the folder of the records of `source`, tars or pairs in SA-1B's layout: `out`, prepared if it is not yet.

    If the tars are gone, the existing records are used, with a message.

    Raises:
      UserError: `out` was prepared from other tars than `source` names now, or see `data_pipelines.sa1b.prepare`.
    """
    from data_pipelines import sa1b
    from data_pipelines.units import find_units

    is_prepared = (out / "dataset_info.json").exists()
    try:
        find_units(source)
    except UserError:
        if not is_prepared:
            raise
        print(f"{source} is not there any more; {out} has its records", flush=True)
        return str(out)
    try:
        report = sa1b.prepare(source, out, split=split)
    except UserError as error:
        if not is_prepared:
            raise
        raise UserError(f"{error}; to go on with the records as they are, give {out} instead of {source}") from error
    if not is_prepared:
        print(f"prepared {source} into {out}: {report.text()}", flush=True)
    return str(out)
