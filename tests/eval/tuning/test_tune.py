"""Settings chosen on annotated photos: what is promised of them is what the generator then gives."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.generators import disc_engine

from samjax.core.errors import UserError
from samjax.data.annotations.dataset import Photo
from samjax.data.masks import rle
from samjax.eval.ground_truth import AnnotatedPhotos
from samjax.eval.tuning import grids, search
from samjax.eval.tuning.grids import Grid, grids_to_try
from samjax.eval.tuning.outcome import Outcome
from samjax.eval.tuning.tune import tune
from samjax.predict.automatic.generator import MaskGenerator
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.settings_file import read_settings
from samjax.scores.average_precision import ResultPart, average_precision
from samjax.scores.truth import Truth

SIZE = (96, 128)
GRIDS = ((5, 0, 1), (5, 1, 1))


@pytest.fixture(scope="module")
def engine():
    """Discs of three sizes around every point, rough; the largest are the most confident."""
    return disc_engine(radii=(3.0, 8.0, 20.0), ripple=4.0)


@pytest.fixture(scope="module")
def data():
    """Two photos whose objects are the engine's discs of the middle size, without holes: one is a crowd."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    images, annotations, photos = [], [], []
    for number in (1, 2):
        pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        images.append({"id": number, "height": SIZE[0], "width": SIZE[1]})
        photos.append(
            Photo(
                id=number,
                name=f"{number}.png",
                height=SIZE[0],
                width=SIZE[1],
                instances=(),
                read=lambda pixels=pixels: pixels,
            )
        )
        for column in range(2):
            for row in range(1 + number % 2):
                centre = 2 * (24 * (column + 1) + 3.7), 2 * (24 * (row + 1) + 3.7)
                disc = np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1]) < 2 * 8
                about = {"id": len(annotations) + 1, "image_id": number, "category_id": 1 + row}
                annotations.append({**about, "iscrowd": int(column == row == 1), "segmentation": rle.encode(disc)})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1}, {"id": 2}]}
    return AnnotatedPhotos(truth=Truth.of(content), photos=photos, left_out={}, notes=[])


def run(engine, data, **options) -> Outcome:
    base = options.pop("base", GeneratorConfig(points_per_side=5, points_per_batch=32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "_GRIDS", GRIDS)
        return tune(engine, data, data.photos, base, **options)


@pytest.fixture(scope="module")
def outcome(engine, data):
    return run(engine, data)


def generated_ap50(engine, data: AnnotatedPhotos, config: GeneratorConfig) -> float:
    found = MaskGenerator(engine, config).generate([photo.read() for photo in data.photos])
    results = [
        {"image_id": photo.id, "category_id": 1, "segmentation": mask.segmentation, "score": mask.predicted_iou}
        for photo, masks in zip(data.photos, found, strict=True)
        for mask in masks
    ]
    ap50 = average_precision(data.truth.class_agnostic(), results, of=ResultPart.MASKS, most=10_000)["AP50"]
    assert ap50 is not None
    return ap50


def test_the_generator_scores_what_the_tuning_says(engine, data, outcome):
    """By pycocotools, of masks that are generated anew: before, after, and with other settings of the search."""
    assert outcome.before.score.ap50 == pytest.approx(generated_ap50(engine, data, outcome.before.config), abs=1e-9)
    assert outcome.after.score.ap50 == pytest.approx(generated_ap50(engine, data, outcome.after.config), abs=1e-9)
    areas = {config.min_region_area for config in outcome.trials}
    assert len(areas) > 1
    for config in (config for config in outcome.trials if config.min_region_area):
        assert outcome.trials[config].ap50 == pytest.approx(generated_ap50(engine, data, config), abs=1e-9)


def test_it_finds_better_settings(outcome):
    """Large discs are the most confident and must be left out; the best AP50 of all tried is given up by little."""
    before, after = outcome.before.score, outcome.after.score
    loosest = next(iter(outcome.trials.values()))
    assert after.ap50 > 1.5 * loosest.ap50 > before.ap50
    assert after.ap50 >= (1 - search.SLACK) * max(score.ap50 for score in outcome.trials.values())
    near = [score for score in outcome.trials.values() if score.ap50 >= after.ap50]
    assert after.f1 == max(score.f1 for score in near)
    assert outcome.after.config.max_area_fraction < 0.1


def test_the_cheapest_grid_is_chosen_of_those_that_are_as_good(outcome):
    assert [Grid.of(trial.config).points for trial in outcome.grids] == [25, 125]
    best = max(trial.score.ap50 for trial in outcome.grids)
    cheap = next(trial for trial in outcome.grids if trial.score.ap50 >= 0.98 * best)
    assert Grid.of(outcome.after.config) == Grid.of(cheap.config)


def test_fixed_settings_stay(engine, data):
    base = GeneratorConfig(points_per_side=5, points_per_batch=32, stability_threshold=0.31, max_area_fraction=1.0)
    fixed = {"points_per_side", "crop_layers", "stability_threshold", "max_area_fraction"}
    outcome = run(engine, data, base=base, fixed=fixed, metric="f1")
    assert len(outcome.grids) == 1
    for config in outcome.trials:
        assert {name: getattr(config, name) for name in fixed} == {name: getattr(base, name) for name in fixed}
    assert outcome.after.score.f1 == max(score.f1 for score in outcome.trials.values())


def test_what_is_written_is_read_as_settings(outcome, tmp_path):
    path = outcome.write(tmp_path / "new", checkpoint="runs/a", data={"annotations": "a.json"})
    assert read_settings(path) == outcome.after.config
    content = json.loads(path.read_text())
    assert content["before"]["ap50"] == outcome.before.score.ap50
    assert len(content["tried"]) == len(outcome.trials)
    assert content["data"] == {"annotations": "a.json", "objects": 5}
    assert f"{outcome.after.score.ap50:.3f}" in outcome.table()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "has no settings"),
        ('{"settings": 3}', "has no settings"),
        ('{"settings": {"points": 3}}', "settings.points is not a field"),
        ('{"settings": {"points_per_side": 0}}', "points_per_side is 0"),
    ],
)
def test_other_files_are_no_settings(content, says, tmp_path):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=says):
        read_settings(tmp_path / "a.json")


def test_grids_keep_what_is_fixed():
    base = GeneratorConfig(points_per_side=3, points_downscale=2)
    assert {grid.points_per_side for grid in grids_to_try(base, fixed={"points_per_side"})} == {3}
    assert [grid.crop_layers for grid in grids_to_try(base, fixed={"points_per_side"})] == [
        0,
        1,
        1,
    ]  # 3 / 4 is no point
    all_grids = grids_to_try(GeneratorConfig(), fixed=())
    assert [grid.points for grid in all_grids] == sorted(grid.points for grid in all_grids)
    for grid in all_grids:
        config = grid.config(GeneratorConfig())
        for layer in grid.layers:
            assert layer.config(config).points_in(layer.crops) == config.points_in(layer.crops)
            assert dataclasses.replace(config, **dataclasses.asdict(grid)) == config
