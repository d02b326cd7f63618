"""Inverse relative depth of every pixel of a photo of any size, by DPT."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Float32, UInt16

from samjax.core.errors import UserError
from samjax.models.vit.dpt_vit import MULTIPLE
from samjax.nn.interpolate import Method, matrix
from samjax.predict.promptable.photo_input import as_photos
from samjax.predict.semantic.dense_engine import DenseEngine


class DepthPredictor:
    """A trained model that says how near every pixel is.

        predictor = DepthPredictor.from_checkpoint("runs/dpt")
        nearness = predictor.predict(photo)           # [h, w], inverse depth up to a scale and a shift

    As the authors test: the side that changes less is scaled to the model's frame, the other in proportion, both to
    multiples of 32, bicubically; so is the answer to the photo's size. `depth_calibration` makes metres of it for
    models that were fine-tuned with measured depth.
    """

    def __init__(self, engine: DenseEngine):
        if not engine.config.head.GIVES_DEPTH:
            raise UserError("this model gives classes, not depth: use SemanticPredictor")
        self._engine = engine

    @classmethod
    def from_checkpoint(
        cls,
        path: epath.PathLike,
        *,
        mesh: Mesh | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        average: bool = True,
    ) -> "DepthPredictor":
        """Return a predictor with the weights at `path`: a run's workdir, one of its checkpoints, or imported weights.

        Raises:
          UserError: there is no checkpoint, or it is not that of a model for depth.
        """
        return cls(DenseEngine.from_checkpoint(path, mesh=mesh, dtype=dtype, average=average))

    @property
    def ways(self) -> int:
        """How many photos the devices take at a time."""
        return self._engine.ways

    def predict(self, photo) -> Float32[np.ndarray, "h w"]:
        """Return the inverse depth of each pixel of a photo: an RGB array of any size, a picture of PIL's or a path.

        Raises:
          UserError: it is no photo.
        """
        (pixels,) = as_photos([photo])
        own = (pixels.shape[0], pixels.shape[1])
        shown = _resize(pixels.astype(np.float32), self._shown_size(own))
        frame = np.clip(np.round(shown), 0, 255).astype(np.uint8)[None]
        sizes = np.array([frame.shape[1:3]], np.int32)
        found = self._engine.logits(frame, sizes, enlarge=True)[0]
        return _resize(found, own)[..., 0]

    def predict_each(self, photos: Sequence) -> list[Float32[np.ndarray, "h w"]]:
        """Return the inverse depth of several photos, as `predict` does."""
        return [self.predict(photo) for photo in photos]

    def _shown_size(self, photo: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) that a photo is shown at."""
        factors = [frame / side for frame, side in zip(self._engine.config.image_size, photo, strict=True)]
        factor = min(factors, key=lambda one: abs(1 - one))
        height, width = (max(1, round(side * factor / MULTIPLE)) * MULTIPLE for side in photo)
        return height, width


def sixteen_bits(depth: Float32[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    """Return depth from its least, which is 0, to its greatest, 65,535, as the authors write it; 0 where all is one."""
    least, greatest = float(depth.min()), float(depth.max())
    if greatest <= least:
        return np.zeros(depth.shape, np.uint16)
    return np.round((depth - least) * (65_535 / (greatest - least))).astype(np.uint16)


def _resize(picture: Float32[np.ndarray, "h w c"], size: tuple[int, int]) -> Float32[np.ndarray, "th tw c"]:
    rows, columns = (matrix(old, new, method=Method.BICUBIC) for old, new in zip(picture.shape[:2], size, strict=True))
    return np.einsum("th,hwc,vw->tvc", rows, picture, columns, optimize=True).astype(np.float32)
