"""Chooses grid and thresholds of automatic masks on annotated photos: the grid on some of them, thresholds on all."""

from collections.abc import Collection, Sequence

import numpy as np

from samjax.data.annotations.dataset import Photo
from samjax.data.annotations.progress import Progress, no_progress
from samjax.eval.ground_truth import AnnotatedPhotos
from samjax.eval.tuning.grids import Grid, grids_to_try
from samjax.eval.tuning.outcome import Outcome, Trial
from samjax.eval.tuning.photo_candidates import CandidateStore
from samjax.eval.tuning.search import Metric, Search
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.engine import Engine
from samjax.scores.truth import Truth

GRID_PHOTOS = 48
"""Photos that grids are compared on, at most."""
GRID_SLACK = 0.02
"""Share of AP50, or F1, by which a grid of more points must be better to be worth its time."""


def tune(
    engine: Engine,
    data: AnnotatedPhotos,
    photos: Sequence[Photo],
    base: GeneratorConfig,
    *,
    fixed: Collection[str] = (),
    metric: Metric = "ap50",
    batch_size: int | None = None,
    progress: Progress = no_progress,
) -> Outcome:
    """Return the settings with which the model's automatic masks agree best with the objects of `photos`.

    The model decodes the candidates of each photo once for each layer of the grids; all thresholds are then searched
    without it, so that the same photos and weights give the same settings. First, grids are compared on up to
    `GRID_PHOTOS` photos, each at its best thresholds, and the one with the fewest points is taken of those within
    `GRID_SLACK` of the best. Then its thresholds are searched on all photos.

    Args:
      data: the annotations of `photos`, of which one at least has an object.
      base: settings that are not searched, and those that the outcome is compared with.
      fixed: fields that stay as `base` has them.
      metric: what is maximised, pooled over all objects at an IoU of 0.5; see `Search.best`.
      batch_size: photos or crops at a time, see `MaskGenerator`.

    Raises:
      UserError: a photo cannot be read.
    """
    truth = data.truth.of_photos([photo.id for photo in photos]).class_agnostic()
    store = CandidateStore(engine=engine, config=base, truth=truth, batch_size=batch_size)
    own = Grid.of(base)
    grids = grids_to_try(base, fixed=fixed)
    few = _some(photos, truth) if len(grids) > 1 else list(photos)
    layers = {layer for grid in (own, *grids) for layer in grid.layers}
    with progress("photos, to compare grids" if len(grids) > 1 else "photos", total=len(few)) as watch:
        store.decode(few, sorted(layers, key=lambda layer: (layer.crops, layer.points_per_side)), watch=watch)
    before = Search(list(store.of(few, own)), truth, base, fixed=fixed).score(base)
    trials = []
    for grid in grids:
        search = Search(list(store.of(few, grid)), truth, grid.config(base), fixed=fixed)
        config = search.best(metric)
        trials.append(Trial(config=config, photos=len(few), score=search.score(config)))
    values = [getattr(trial.score, metric) for trial in trials]
    grid = next(grid for grid, value in zip(grids, values, strict=True) if value >= (1 - GRID_SLACK) * max(values))
    store.drop_all_but(grid.layers)
    missing = store.missing(photos, grid.layers)
    if missing:
        with progress("photos, with the grid chosen", total=len(missing)) as watch:
            store.decode(missing, grid.layers, watch=watch)
    search = Search(list(store.of(photos, grid)), truth, grid.config(base), fixed=fixed)
    config = search.best_with_specks(search.best(metric), metric)
    return Outcome(
        metric=metric,
        fixed_fields=sorted(fixed),
        before=Trial(config=base, photos=len(few), score=before),
        grids=trials,
        after=Trial(config=config, photos=len(photos), score=search.score(config)),
        trials=search.scores,
        objects=sum(not one["iscrowd"] for one in truth.annotations),
    )


def _some(photos: Sequence[Photo], truth: Truth) -> list[Photo]:
    """Return up to `GRID_PHOTOS` of the photos that have an object, at equal distances."""
    annotated = [photo for photo in photos if any(not one["iscrowd"] for one in truth.by_photo.get(photo.id, ()))]
    places = np.linspace(0, len(annotated) - 1, min(GRID_PHOTOS, len(annotated))).round().astype(int)
    return [annotated[place] for place in places]
