"""Predicts the depth of photos, and scores it by the measured one."""

import dataclasses
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from samjax.data.records import depths
from samjax.data.records.schema import RecordError
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.record_photos import RecordPhoto, open_record_photos
from samjax.models.dense_prediction.depth_calibration import DPT_HYBRID_KITTI, DPT_HYBRID_NYU
from samjax.predict.semantic.depth_predictor import DepthPredictor
from samjax.scores.depth_errors import DepthErrors, DepthProtocol, aligned_depth, depth_errors, median_aligned_depth


class Alignment(enum.Enum):
    """How inverse depth becomes metres."""

    SCALE_SHIFT = "scale-shift"
    """By the scale and the shift of least squared error against the photo's truth: for relative depth, as DPT's is."""
    MEDIAN = "median"
    """By one factor, so that depth has the median of the photo's truth."""
    NONE = "none"
    """By the constants of a calibration: the truth is not looked at."""


CALIBRATIONS = {"nyu": DPT_HYBRID_NYU, "kitti": DPT_HYBRID_KITTI}
"""Of DPT-Hybrid as fine-tuned on these data sets."""


@dataclass(frozen=True, kw_only=True)
class DepthScoring:
    """How depth is scored."""

    protocol: DepthProtocol
    align: Alignment = Alignment.SCALE_SHIFT
    calibration: str | None = None
    """A key of `CALIBRATIONS`, for `Alignment.NONE`."""

    def metres(self, inverse: Float[np.ndarray, "h w"], truth: Float[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
        """Return the depth in metres of predicted inverse depth; `truth` is in metres, 0 where it is unknown.

        Raises:
          UserError: the photo is not of the protocol's size.
        """
        if self.align is Alignment.SCALE_SHIFT:
            return aligned_depth(inverse, truth, self.protocol)
        if self.align is Alignment.MEDIAN:
            return median_aligned_depth(inverse, truth, self.protocol)
        assert self.calibration is not None, "without alignment a calibration is needed"
        return np.asarray(CALIBRATIONS[self.calibration].depth(jnp.asarray(inverse)), np.float64)


@dataclass(frozen=True, kw_only=True)
class ScoredPhoto:
    """A photo and its errors; None where no pixel of it is scored."""

    photo: RecordPhoto
    errors: DepthErrors | None


def open_depth_photos(path: str, *, split: str, limit: int | None = None) -> Sequence[RecordPhoto]:
    """Return the photos of a split of records of depth.

    Raises:
      UserError: there are no such records, or one is damaged.
    """
    return open_record_photos(
        path,
        split=split,
        schemas=(depths.SCHEMA,),
        expectation="records of `samjax data prepare --format depth`",
        limit=limit,
    )[1]


def read_depth(photo: RecordPhoto) -> tuple[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
    """Return a photo's pixels as stored, and the depth of each in metres, 0 where it is unknown.

    Raises:
      UserError: the record is damaged.
    """
    record = photo.record()
    try:
        truth = record.metres()
    except RecordError as error:
        raise photo.damage(error) from error
    return photo.pixels(record), truth


def score_photos(
    predictor: DepthPredictor,
    photos: Sequence[RecordPhoto],
    scoring: DepthScoring,
    folder: EvaluationFolder,
    *,
    watch: Callable[[int], None],
) -> list[ScoredPhoto]:
    """Score the photos that the folder has no errors of, and return those of all photos.

    Raises:
      UserError: a record is damaged, or of a size that the protocol's crop cannot be cut from.
    """
    todo = [photo for photo in photos if photo.key not in folder]
    watch(len(photos) - len(todo))
    for photo in todo:
        pixels, truth = read_depth(photo)
        depth = scoring.metres(predictor.predict(pixels), truth)
        errors = depth_errors(depth, truth, scoring.protocol)
        folder.record(photo.key, None if errors is None else dataclasses.asdict(errors))
        watch(1)
    found = [(photo, folder[photo.key]) for photo in photos]
    return [ScoredPhoto(photo=photo, errors=None if one is None else DepthErrors(**one)) for photo, one in found]
