"""Converts folders and tars of photos without masks to ArrayRecord, for pretraining."""

import functools
import os
from collections.abc import Callable, Sequence

from data_pipelines import preparation
from data_pipelines.dataset_kinds import PHOTOS
from data_pipelines.layouts import Layout
from data_pipelines.photo_jpegs import PhotoRules
from data_pipelines.photo_units import find_photos
from data_pipelines.preparation import ALL_CORES, BeamRun, LocalRun, PrepareProgress
from data_pipelines.prepare_report import PrepareReport

AS_LARGE_AS_THEY_ARE = PhotoRules()


def prepare(
    source: str | Sequence[str],
    out: str | os.PathLike[str],
    *,
    rules: PhotoRules = AS_LARGE_AS_THEY_ARE,
    split: str = "train",
    run: LocalRun | BeamRun = ALL_CORES,
    watch: Callable[[PrepareProgress], None] = lambda watched: None,
) -> PrepareReport:
    """Write the photos of `source` as ArrayRecord to the folder `out`, or resume; readers open it once it is complete.

    Args:
      source: photos, tars of photos, folders of either, or patterns of them; local or as fsspec names them.
      out: the folder to make; it holds dataset_info.json at the end, and prepare_report.json. If it is already complete
        from the same source, nothing is done.
      rules: how large photos are written.
      split: the name of the one split written.
      run: where the shards are made. They are the same everywhere.
      watch: called periodically with the progress.

    Raises:
      UserError: as `data_pipelines.preparation.prepare` does.
    """
    layout = Layout(
        kind=PHOTOS,
        find_units=functools.partial(find_photos, rules=rules),
        expectation="folders or tars of photos",
        settings=str(rules),
    )
    return preparation.prepare(source, out, layout=layout, split=split, run=run, watch=watch)
