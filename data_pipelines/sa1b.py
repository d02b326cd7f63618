"""Converts SA-1B's tars, or folders of its pairs, to ArrayRecord that TFDS opens, without TensorFlow."""

import os
from collections.abc import Callable, Sequence

from data_pipelines import preparation
from data_pipelines.dataset_kinds import MASKS
from data_pipelines.layouts import Layout
from data_pipelines.preparation import ALL_CORES, BeamRun, LocalRun, PrepareProgress
from data_pipelines.prepare_report import PrepareReport
from data_pipelines.units import find_units

_LAYOUT = Layout(kind=MASKS, find_units=find_units, expectation="tars or folders in the SA-1B layout")


def prepare(
    source: str | Sequence[str],
    out: str | os.PathLike[str],
    *,
    split: str = "train",
    run: LocalRun | BeamRun = ALL_CORES,
    watch: Callable[[PrepareProgress], None] = lambda watched: None,
) -> PrepareReport:
    """Write `source` as ArrayRecord to the folder `out`, or resume; readers open it once it is complete.

    Args:
      source: tars, globs of tars, or folders of tars or of pairs, in the SA-1B layout; local or as fsspec names them.
      out: the folder to make; it holds dataset_info.json at the end, and prepare_report.json. If it is already complete
        from the same source, nothing is done.
      split: the name of the one split written.
      run: where the shards are made. They are the same everywhere.
      watch: called periodically with the progress.

    Raises:
      UserError: as `data_pipelines.preparation.prepare` does.
    """
    return preparation.prepare(source, out, layout=_LAYOUT, split=split, run=run, watch=watch)
