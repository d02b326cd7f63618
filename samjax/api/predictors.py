"""A checkpoint's model, ready for use."""

from typing import Literal

from etils import epath

from samjax.predict.promptable.predictor import Predictor


def load(path: epath.PathLike, *, dtype: Literal["float32", "bfloat16"] = "float32", average: bool = True) -> Predictor:
    """Return a predictor with the weights at `path`: a run's workdir, one of its checkpoints, or imported weights.

        predictor = samjax.load("runs/mine")
        predictor.set_image(photo)
        answer = predictor.predict(points=[[[x, y]]], labels=[[1]])

    Photos are split over this machine's devices. Compiled programs are cached on disk, see
    `samjax.core.xla_cache`.

    Args:
      dtype: precision of the computation. Parameters, positions, softmax and masks are always float32.
      average: take the moving average of parameters where the run kept one; False takes the last step's.

    Raises:
      UserError: there is no checkpoint, or it is not that of a complete Segment Anything model.
    """
    return Predictor.from_checkpoint(path, dtype=dtype, average=average)
