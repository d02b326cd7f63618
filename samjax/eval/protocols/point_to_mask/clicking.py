"""The click loop: click objects, predict, compare, click again."""

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from samjax.core.errors import UserError
from samjax.core.ranges import Count, Seed, config_class
from samjax.data.annotations.dataset import Instance
from samjax.eval.prompt_groups import AT_ONCE, pad_group
from samjax.eval.protocols.point_to_mask.places import Place, central_place, correcting_place, random_place
from samjax.predict.promptable.predictor import Prediction, Predictor


class FirstClick(enum.Enum):
    """Where an object is clicked first."""

    CENTER = "center"
    """At the maximum of its distance transform: the paper's default."""
    RANDOM = "random"
    """On any of its pixels, as the paper's figure 9d."""


@config_class("")
class ClickConfig:
    """How objects are clicked (Segment Anything, section 7.1 and appendix D.1)."""

    clicks: tuple[Count, ...] = (1, 2, 3, 5, 9)
    """Numbers of clicks after which masks are compared, ascending."""
    first: FirstClick = FirstClick.CENTER
    """Where an object is clicked first."""
    seed: Seed = 0
    """Fixes random first clicks."""

    def __post_init__(self):
        if not self.clicks or list(self.clicks) != sorted(set(self.clicks)):
            raise UserError(f"clicks are {list(self.clicks)}; give ascending numbers from 1, such as 1 2 3 5 9")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClickOutcome:
    """Results for one object, per round of clicks. IoUs are at the photo's own resolution."""

    instance: int
    iou: list[float]
    """Of the mask with the highest predicted IoU, which is fed back."""
    oracle: list[float]
    """Of the best of its masks: three after the first click, one after that."""
    predicted: list[float]
    """The model's own estimate of `iou`."""
    places: list[Place]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "ClickOutcome":
        """Return what `to_json` wrote."""
        return cls(**{**said, "places": [Place(*place) for place in said["places"]]})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClickMasks:
    """A `ClickOutcome` with its masks, for pictures."""

    outcome: ClickOutcome
    masks: list[Bool[np.ndarray, "h w"]]
    """The carried mask of each round; of the last alone, unless all were to be kept."""


def click_objects(
    predictor: Predictor,
    photos: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    objects: Sequence[Sequence[Instance]],
    *,
    config: ClickConfig,
    keep_masks: bool = False,
) -> list[list[ClickMasks]]:
    """Click the `objects` of each of some photos, one at least, as many times as the most clicks of `config`.

    The photos are encoded together, over the predictor's mesh. After the first click the model gives three masks, of
    which the one with the highest predicted IoU is fed back; then it sees all clicks and that mask's logits, and gives
    one.
    """
    predictor.set_images(photos)
    found: list[list[ClickMasks]] = [[] for _ in photos]
    for start in range(0, max(map(len, objects)), AT_ONCE):
        parts = [of_photo[start : start + AT_ONCE] for of_photo in objects]
        # A photo whose objects are all done waits for the others with the ones it began with.
        shown = [part or of_photo[:1] for part, of_photo in zip(parts, objects, strict=True)]
        for watched, part, more in zip(found, parts, _click(predictor, shown, config, keep_masks), strict=True):
            watched.extend(more[: len(part)])
    return found


@dataclasses.dataclass
class _Session:
    """One object while it is clicked."""

    instance: Instance
    truth: Bool[np.ndarray, "h w"]
    places: list[Place] = dataclasses.field(default_factory=list)
    iou: list[float] = dataclasses.field(default_factory=list)
    oracle: list[float] = dataclasses.field(default_factory=list)
    predicted: list[float] = dataclasses.field(default_factory=list)
    masks: list[Bool[np.ndarray, "h w"]] = dataclasses.field(default_factory=list)
    logits: Float32[np.ndarray, "low_h low_w"] | None = None

    def click(self, config: ClickConfig) -> None:
        """Place the next click."""
        if self.masks:
            self.places.append(correcting_place(predicted=self.masks[-1], truth=self.truth))
        elif config.first is FirstClick.CENTER:
            self.places.append(central_place(self.truth))
        else:
            self.places.append(random_place(self.truth, seed=config.seed, instance=self.instance.id))

    def take(self, prediction: Prediction, m: int, *, keep_masks: bool) -> None:
        """Compare what the model gave for this object, number `m` of its photo's."""
        ious = [mask_iou(mask, self.truth) for mask in prediction.masks[m]]
        k = int(np.argmax(prediction.iou[m]))
        self.iou.append(ious[k])
        self.oracle.append(max(ious))
        self.predicted.append(float(prediction.iou[m, k]))
        if not keep_masks:
            self.masks.clear()
        self.masks.append(prediction.masks[m, k].copy())  # not a view: the other masks are let go
        self.logits = prediction.logits[m, k]

    def with_masks(self) -> ClickMasks:
        clicked = ClickOutcome(
            instance=self.instance.id,
            iou=self.iou,
            oracle=self.oracle,
            predicted=self.predicted,
            places=self.places,
        )
        return ClickMasks(outcome=clicked, masks=self.masks)


def _click(
    predictor: Predictor, objects: Sequence[Sequence[Instance]], config: ClickConfig, keep_masks: bool
) -> list[list[ClickMasks]]:
    """Click up to `AT_ONCE` objects of each photo."""
    sessions = [[_Session(instance=one, truth=one.mask()) for one in of_photo] for of_photo in objects]
    for round_index in range(config.clicks[-1]):
        for of_photo in sessions:
            for session in of_photo:
                session.click(config)
        asked = [pad_group(of_photo) for of_photo in sessions]
        answers = predictor.predict_each(
            points=[[[place[:2] for place in one.places] for one in of_photo] for of_photo in asked],
            labels=[[[int(place.foreground) for place in one.places] for one in of_photo] for of_photo in asked],
            mask_logits=[[one.logits for one in of_photo] for of_photo in asked] if round_index else None,
            multimask=round_index == 0,
        )
        for of_photo, answer in zip(sessions, answers, strict=True):
            for m, session in enumerate(of_photo):
                session.take(answer, m, keep_masks=keep_masks)
    return [[session.with_masks() for session in of_photo] for of_photo in sessions]


def mask_iou(predicted: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> float:
    """Return their IoU; 0 where both are empty."""
    union = int(np.count_nonzero(predicted | truth))
    return int(np.count_nonzero(predicted & truth)) / union if union else 0.0
