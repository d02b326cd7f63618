"""The protocol over data sets, photo by photo, so that it can stop at any moment and resume later."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from samjax.data.annotations.dataset import Dataset, Instance, Photo
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.photo_reading import UNREADABLE, read_photos
from samjax.eval.protocols.point_to_mask.clicking import ClickConfig, ClickOutcome, click_objects
from samjax.predict.promptable.predictor import Predictor

CROWDS, EMPTY = "crowds", "masks without a pixel"


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What came of each data set, by its name."""

    clicks: dict[str, dict[int, list[ClickOutcome]]]
    """Of each photo, by its id, the objects."""
    left_out: dict[str, dict[str, int]]
    """Objects and photos that could not be evaluated, by reason."""


def click_datasets(
    predictor: Predictor,
    datasets: Sequence[Dataset],
    folder: EvaluationFolder,
    *,
    config: ClickConfig,
    at_once: int,
    allow_missing: bool,
    watch: Callable[[int], None],
) -> Outcomes:
    """Click the objects of all photos that `folder` does not have, `at_once` photos at a time; return those of all.

    `watch` is told how many photos are done, whenever some are.

    Raises:
      UserError: a photo cannot be read, and `allow_missing` is not given.
    """
    for dataset in datasets:
        todo = [photo for photo in dataset.photos if _key(dataset, photo) not in folder]
        watch(len(dataset.photos) - len(todo))
        for start in range(0, len(todo), at_once):
            part = todo[start : start + at_once]
            there = list(read_photos(part, folder, allow_missing=allow_missing, key=functools.partial(_key, dataset)))
            objects = [_clickable(photo) for photo, _ in there]
            asked = [(photo, pixels, those) for (photo, pixels), those in zip(there, objects, strict=True) if those]
            if asked:
                photos, pixels, those = zip(*asked, strict=True)
                for photo, watched in zip(photos, click_objects(predictor, pixels, those, config=config), strict=True):
                    folder.record(_key(dataset, photo), {"objects": [one.outcome.to_json() for one in watched]})
            for (photo, _), those in zip(there, objects, strict=True):
                if not those:
                    folder.record(_key(dataset, photo), {"objects": []})
            watch(len(part))
    return _outcome(datasets, folder)


def _clickable(photo: Photo) -> list[Instance]:
    return [one for one in photo.objects if one.area]


def _outcome(datasets: Sequence[Dataset], folder: EvaluationFolder) -> Outcomes:
    found, left_out = {}, {}
    for dataset in datasets:
        records = {photo.id: folder[_key(dataset, photo)] for photo in dataset.photos}
        found[dataset.name] = {
            number: [ClickOutcome.from_json(one) for one in record["objects"]]
            for number, record in records.items()
            if record.get("objects")
        }
        read = [photo for photo in dataset.photos if "objects" in records[photo.id]]
        crowds = sum(len(photo.instances) - len(photo.objects) for photo in read)
        clicked = sum(len(of_photo) for of_photo in found[dataset.name].values())
        counts = {
            CROWDS: crowds,
            EMPTY: sum(len(photo.instances) for photo in read) - crowds - clicked,
            UNREADABLE: len(dataset.photos) - len(read),
        }
        left_out[dataset.name] = {kind: count for kind, count in counts.items() if count}
    return Outcomes(clicks=found, left_out=left_out)


def _key(dataset: Dataset, photo: Photo) -> str:
    return f"{dataset.name}/{photo.id}"
